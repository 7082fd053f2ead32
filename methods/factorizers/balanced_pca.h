// Balanced joint PCA of position-free keys and values (TransMLA, arXiv 2502.07864, section 4.2): keys are divided by the
// ratio alpha of mean column norms, then the top eigenvectors of E[z z^T], z = [k/alpha; v], uncentred.
#pragma once
#include "core/tensor/decompositions.h"
#include "methods/parts.h"

namespace mla {

struct BalancedPcaOptions {
  std::optional<double> balance = 1.0;  // --balance-kv-ratio; none leaves keys as they are
  double damping = 0.01;                // of the mean diagonal
  bool recalibrate = true;              // statistics of the partial-RoPE model, else those of the original
};
std::unique_ptr<Factorizer> make_balanced_pca(const BalancedPcaOptions& options);

// Of moment + damping * mean diagonal. fp64.
Eigenpairs damped_pca(const at::Tensor& moment, double damping);

}  // namespace mla
