// The three attention forms as plain values. One alphabet:
// B batch  T tokens  D model width  H query heads  G key/value heads  h head width  n position-free dims per head
// v value dims per head  d_R rope dims  r latent rank (kv_lora_rank)  rq query rank (q_lora_rank)
#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <variant>

#include "core/model/rope.h"

namespace mla {

// The original: grouped-query attention (multi-head when G = H).
struct GqaWeights {
  at::Tensor q;  // [H*h, D]
  at::Tensor k;  // [G*h, D]  rows grouped by head; rotary pair i is (i, i + h/2)
  at::Tensor v;  // [G*h, D]
  at::Tensor o;  // [D, H*h]
  RopePlan rope;  // one rope head of h dims
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  double scale = 0;  // of the scores, h^-1/2
};

// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1). The cache holds [latent r; rope key].
// Scores of head i: scale * (q_nope_i . k_nope_g + q_rope_i . k_rope); g is i's group of up-projected keys.
struct MlaWeights {
  at::Tensor q;         // [H*(n+d_R), D], per head [n; d_R]; undefined when q_a is set
  at::Tensor q_a;       // [rq, D]
  at::Tensor q_b;       // [H*(n+d_R), rq]
  at::Tensor k_rope;    // [rope_heads*d_R, D]
  at::Tensor kv_a;      // [r, D]
  at::Tensor kv_a_norm;  // [r], optional RMS norm of the latent
  at::Tensor kv_b;      // [G*(n+v), r], per group [n keys; v values]
  at::Tensor o;         // [D, H*v]
  RopePlan rope;        // rope_heads is 1 or G
  int64_t heads = 0, groups = 0, nope_dim = 0, v_dim = 0;
  double scale = 0;
  int64_t rank() const { return kv_a.size(0); }
};

// Low-rank cache whose keys are rebuilt and only then rotated (plain SVD, Palu, CARE before decoupling). Not absorbable.
struct LowRankKvWeights {
  at::Tensor q;         // [H*h, D]
  at::Tensor k_a, k_b;  // [w_k, D], [G*h, w_k]
  at::Tensor v_a, v_b;  // [w_v, D], [G*h, w_v]
  at::Tensor o;         // [D, H*h]
  RopePlan rope;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  double scale = 0;
};

using AttentionWeights = std::variant<GqaWeights, MlaWeights, LowRankKvWeights>;

}  // namespace mla
