// One factorizer for every truncated SVD of keys and values, with or without activations in its norm.
//
// For rows W [m, D'] of a layer, min over rank r of |(W - W_r) S|_F with S S^T = Phi is U_r U_r^T W, U the left singular
// vectors of W S, that is the eigenvectors of W Phi W^T: neither a root nor an inverse of Phi is needed, and any root (Cholesky
// as SVD-LLM takes it, arXiv 2403.07378, section 3.1; symmetric as CARE's, arXiv 2603.17946, section 3) gives the same result.
// At full rank U U^T W = W whatever Phi is, so that singular, constant and unseen inputs lose nothing.
#pragma once
#include "methods/parts.h"

namespace mla {

enum class SvdMetric {
  weights,        // Phi = I: plain SVD, no data
  second_moment,  // Phi = C = E[x x^T]: error of the outputs
  squared         // Phi = C^2: CARE's variant that multiplies by C itself
};
enum class SvdParts { separate, joint };  // keys and values each, or [keys; values] as one matrix

struct WeightedSvdOptions {
  SvdMetric metric = SvdMetric::second_moment;
  double shrinkage = 0;        // a: C is replaced by (1 - a) C + a mean(diag C) I
  SvdParts parts = SvdParts::separate;
  int64_t heads_per_part = 0;  // KV heads that share a decomposition (Palu's groups, GLA's halves); 0: all
  std::optional<double> balance;  // joint: keys are divided by alpha = ratio of mean norms / balance (TransMLA); none: as they are
  bool hadamard = false;
};
std::unique_ptr<Factorizer> make_weighted_svd(const WeightedSvdOptions& options);

// Top min(m, D') eigenvectors of rows * Phi * rows^T as columns, eigenvalues descending and at least 0; of each of several rows [m, D'].
struct Directions {
  at::Tensor vectors, energies;
};
std::vector<Directions> principal_directions(const std::vector<at::Tensor>& rows, const at::Tensor& second, SvdMetric metric);
// (1 - a) C + a mean(diag C) I
at::Tensor shrunk(const at::Tensor& second, double a);

// `up` [size*count, R] of KV heads first .. first+count-1 at their rows of kv_b [G*(n+v), R]; from is 0 for keys, n for values.
at::Tensor placed_rows(const SplitLayer& layer, const at::Tensor& up, int64_t from, int64_t first, int64_t count);

}  // namespace mla
