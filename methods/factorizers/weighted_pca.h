// Joint PCA of position-free keys and values under a metric that says which errors matter. With z = [p; v] and metric M
// (block-diagonal over keys and values) it minimises E[(z - z')^T M (z - z')]: eigenvectors of M^1/2 E[z z^T] M^1/2.
// Replaces the one scalar of TransMLA's balance (arXiv 2502.07864, section 4.2), whose conclusion asks for something better.
#pragma once
#include "methods/parts.h"

namespace mla {

enum class PcaMetric {
  query_output,  // keys by what queries read of them, values by what W_O passes on; each half scaled to the same energy
  gradient       // second moments of the loss gradient at keys and values: comparable between layers
};

struct WeightedPcaOptions {
  PcaMetric metric = PcaMetric::gradient;
  double attended = 0;    // share of attention-weighted moments (attention_weighted_second) in E[z z^T]
  double damping = 0.01;  // of each half's mean diagonal, added to the metric
};
// Latent rows come out with unit variance under E[z z^T], so that training sees them all at one scale.
std::unique_ptr<Factorizer> make_weighted_pca(const WeightedPcaOptions& options);

}  // namespace mla
