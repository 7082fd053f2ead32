// Token scores straight from last hidden states, in vocabulary blocks, without a [tokens, vocabulary] logit tensor.
// Contract of the operator: plain shapes, a reference that a reader trusts, one implementation per device.
#pragma once
#include <ATen/ATen.h>

#include <vector>

namespace mla::gpu {
class Operators;  // core/cuda/plug.h
}

namespace mla {

struct StageHidden {
  at::Tensor hidden;  // [N,D] normed last hidden states
  at::Tensor head;    // [V,D], same dtype; V is equal in all stages
  double softcap = 0;  // logits become cap * tanh(l / cap); 0: they stay
};

// N tokens, S stages; stage 0 is the reference p of every divergence. All on the CPU.
struct TokenScores {
  at::Tensor nll_nats;  // [S,N] fp64: log(sum_v exp(l_v)) - l_target, with l = hidden head^T, capped
  at::Tensor kld_nats;  // [S,N] fp64: KL(p || stage), zero in row 0
  at::Tensor same_top;  // [S,N] bool: the most likely token is p's
  at::Tensor top;       // [S,N] int64: the most likely token; of equals the first
};

// targets [N] int64 in [0,V). Products in the tensors' dtype, exponentials and block sums in fp32 with the row maximum
// subtracted, blocks joined in fp64. Throws ShapeError.
TokenScores token_scores(const std::vector<StageHidden>& stages, const at::Tensor& targets);

// Throws ShapeError for stages and targets that do not fit together.
void check_token_scores(const std::vector<StageHidden>& stages, const at::Tensor& targets);

// The same with a module's operator in place of the host's loops: logits stay where the tensors are, and nothing returns before all
// blocks of the vocabulary are joined. token_scores() does this for tensors on a card whose dtype is fp32, fp16 or bf16 and up to eight
// stages, where the CUDA module is found; without it each block of logits is copied to the host. Sums of exponentials are equal up to rounding.
TokenScores token_scores_with(const gpu::Operators& operators, const std::vector<StageHidden>& stages, const at::Tensor& targets);

namespace reference {  // fp64 throughout, all logits at once: for tests
TokenScores token_scores(const std::vector<StageHidden>& stages, const at::Tensor& targets);
}

}  // namespace mla
