// GTA (arXiv 2505.21487, section 3.2) as a target: one state t per KV head is both value and position-free key, K = [t[:n]; k_rope].
//
// RoRoPE makes the one rope key. Then t_g = Q_g v_g with Q_g orthogonal, so that values lose nothing (Q_g^T goes into W_O) and only keys
// are approximated: k_nope,g ~ L_g t_g[:n], L_g absorbed into the queries. Two ways to Q_g:
//   regression  the best linear map of values to keys of rank n, E[k v^T] C_v^+ cut by reduced-rank regression;
//   procrustes  the orthogonal map that turns n principal key directions nearest to the values, times one scale.
#pragma once
#include "methods/parts.h"

namespace mla {

enum class Alignment { regression, procrustes };
struct TiedValuesOptions {
  int64_t nope_dim = 0;  // n, at most head_dim
  Alignment alignment = Alignment::regression;
};
// `base` is RoRoPE; the factorizer behind is tied_latent.
std::unique_ptr<Splitter> make_tied_values(std::unique_ptr<Splitter> base, const TiedValuesOptions& options);

// One KV head: keys k ~ back * rotation[:n] * v from E[k k^T], E[k v^T], E[v v^T] of h dims each.
struct AlignedHead {
  at::Tensor rotation;  // [h, h] orthogonal: t = rotation v
  at::Tensor back;      // [h, n]
};
AlignedHead align_head(const at::Tensor& keys, const at::Tensor& cross, const at::Tensor& values, const TiedValuesOptions& options);

}  // namespace mla
