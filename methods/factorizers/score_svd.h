// KQ-SVD (arXiv 2512.05916): the rank-r map of keys that keeps the scores K Q^T best, from second moments alone.
//
// For one group of KV heads, C_K = E[k k^T] and C_Q = sum of E[q q^T] over the queries that read it (block-diagonal where heads
// share): |K X Q^T|^2 = tr(X^T C_K X C_Q), so the best X of rank r is C_K^{-1/2} U_r U_r^T C_K^{1/2} with U the eigenvectors of
// C_K^{1/2} C_Q C_K^{1/2}. Tokens are paired as in K Q^T before rotation; the causal mask is not seen. Values: error of the outputs
// (weighted_svd.h).
#pragma once
#include "methods/parts.h"

namespace mla {
struct ScoreSvdOptions {
  int64_t heads_per_part = 1;  // KV heads that share a decomposition; 0: all
};
std::unique_ptr<Factorizer> make_score_svd(const ScoreSvdOptions& options);

// down = U^T C_K^{-1/2} and up = C_K^{1/2} U for keys of moment `keys`, read by queries of moment `queries`; [m, m] each. One of each
// for every group of heads.
struct ScoreMaps {
  at::Tensor down, up, energies;
};
std::vector<ScoreMaps> score_maps(const std::vector<at::Tensor>& keys, const std::vector<at::Tensor>& queries);
}  // namespace mla
