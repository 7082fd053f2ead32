// The three attention forms as plain values. One alphabet:
// B batch  T tokens  D model width  H query heads  G key/value heads  h head width  n position-free dims per head
// v value dims per head  d_R rope dims  r latent rank (kv_lora_rank)  rq query rank (q_lora_rank)
// Tensors marked "optional" are undefined where the model has none.
#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/model/rope.h"

namespace mla {

// RMS norm of each query and key head (Qwen3): q_i = norm(W_q,i x) * query, before RoPE.
struct QkNorm {
  at::Tensor query, key;  // [h] each
  double eps = 1e-6;
};

// What happens to scores s = scale * (q . k) before the softmax, beside causality.
struct ScoreLimits {
  double softcap = 0;  // s becomes softcap * tanh(s / softcap) (Gemma 2); 0: it stays
  int64_t window = 0;  // a query sees that many tokens, itself the last of them; 0: all
};

// The original: grouped-query attention (multi-head when G = H).
struct GqaWeights {
  at::Tensor q;  // [H*h, D]
  at::Tensor k;  // [G*h, D]  rows grouped by head; rotary pair i is (i, i + h/2)
  at::Tensor v;  // [G*h, D]
  at::Tensor o;  // [D, H*h]
  at::Tensor q_bias, k_bias, v_bias, o_bias;  // optional, one per row
  std::optional<QkNorm> norm;
  RopePlan rope;  // one rope head of h dims
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  double scale = 0;  // of the scores, h^-1/2
  ScoreLimits limits;
};

// Before the latent of a q/k-norm model: u = [norm(W_q x); norm(W_k x); W_v x]. What follows is linear in u, so the norm stays
// exact and nothing more is cached.
struct NormedProjections {
  at::Tensor q, k, v;                 // [H*h, D], [G*h, D], [G*h, D]
  at::Tensor q_bias, k_bias, v_bias;  // optional
  QkNorm norm;
  int64_t head_dim = 0;
  int64_t query_width() const { return q.size(0); }
  int64_t key_value_width() const { return k.size(0) + v.size(0); }
};

// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1). The cache holds [latent r; rope key].
// Scores of head i: scale * (q_nope_i . k_nope_g + q_rope_i . k_rope); g is i's group of up-projected keys.
// With `normed`, q (or q_a) reads u's query part in place of x, and k_rope and kv_a read its key and value parts.
struct MlaWeights {
  at::Tensor q;         // [H*(n+d_R), D], per head [n; d_R]; undefined when q_a is set
  at::Tensor q_a;       // [rq, D]
  at::Tensor q_a_norm;  // [rq], optional RMS norm
  at::Tensor q_b;       // [H*(n+d_R), rq]
  at::Tensor k_rope;    // [rope_heads*d_R, D]
  at::Tensor kv_a;      // [r, D]
  at::Tensor kv_a_norm;  // [r], optional RMS norm of the latent
  at::Tensor kv_b;      // [G*(n+v), r], per group [n keys; v values]
  at::Tensor o;         // [D, H*v]
  at::Tensor q_bias, q_a_bias, k_rope_bias, kv_a_bias, o_bias;  // optional; q_bias also follows q_b
  std::optional<NormedProjections> normed;
  RopePlan rope;        // rope_heads is 1 or G
  int64_t heads = 0, groups = 0, nope_dim = 0, v_dim = 0;
  double scale = 0;
  ScoreLimits limits;
  int64_t rank() const { return kv_a.size(0); }
};

// Low-rank cache whose keys are rebuilt and only then normed and rotated (plain SVD, Palu, CARE before decoupling). Not absorbable.
struct LowRankKvWeights {
  at::Tensor q;         // [H*h, D]
  at::Tensor k_a, k_b;  // [w_k, D], [G*h, w_k]
  at::Tensor v_a, v_b;  // [w_v, D], [G*h, w_v]
  at::Tensor o;         // [D, H*h]
  at::Tensor q_bias, k_a_bias, v_a_bias, o_bias;  // optional
  std::optional<QkNorm> norm;
  RopePlan rope;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  double scale = 0;
  ScoreLimits limits;
};

using AttentionWeights = std::variant<GqaWeights, MlaWeights, LowRankKvWeights>;

// Every tensor of a form under its name in our folders ("q_proj.weight", "kv_a_proj.bias"), optional ones where they are defined.
std::vector<std::pair<std::string, at::Tensor>> named_tensors(const AttentionWeights& weights);

// Calls visit(tensor) on every tensor of a form, undefined ones included.
void each_attention_tensor(AttentionWeights& weights, const std::function<void(at::Tensor&)>& visit);

// The same weights in another dtype or on another device.
AttentionWeights to(const AttentionWeights& weights, at::Device device, at::ScalarType dtype);

}  // namespace mla
