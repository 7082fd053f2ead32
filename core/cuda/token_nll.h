// Negative log-likelihood and Kullback-Leibler divergence straight from last hidden states, in vocabulary blocks, without
// a [tokens, vocabulary] logit tensor. Contract of the operator: plain shapes, one reference, one implementation a device.
#pragma once
#include <ATen/ATen.h>

namespace mla {

// nll_nats[i] = log(sum_v exp(hidden[i] . head[v])) - hidden[i] . head[targets[i]]; the sums are fp32 per block with the row
// maximum subtracted, joined in fp64.
//   hidden [N,D]  head [V,D] of the same dtype  targets [N] int64 in [0,V)   ->  [N] fp64
at::Tensor token_nll(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets);

struct TokenDivergence {
  at::Tensor nll_p, nll_q;  // [N] fp64 nats, of the targets
  at::Tensor kld;           // [N] fp64 nats, KL(p || q)
  at::Tensor same_top;      // [N] bool, argmax p == argmax q
};
// Both models in one sweep over the vocabulary; p is the reference.  hidden_p, hidden_q [N,D]
TokenDivergence token_divergence(const at::Tensor& hidden_p, const at::Tensor& head_p, const at::Tensor& hidden_q,
                                 const at::Tensor& head_q, const at::Tensor& targets);

namespace reference {  // the loops a reader trusts: fp64 throughout, token by token
at::Tensor token_nll(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets);
TokenDivergence token_divergence(const at::Tensor& hidden_p, const at::Tensor& head_p, const at::Tensor& hidden_q,
                                 const at::Tensor& head_q, const at::Tensor& targets);
}  // namespace reference

}  // namespace mla
