// Closed form: the output projection W_O of a converted layer fitted by ridge regression (ridge.h), so that the converted prefix
// reproduces the original's residual stream: a_t are the layer's mixed values on the converted stream, y_t = target_t - residual_t.
#pragma once
#include "methods/parts.h"

namespace mla {

struct OutputRefitOptions {
  double ridge = 0.1;
};
std::unique_ptr<Healer> make_output_refit(const OutputRefitOptions& options);

// A layer's output projection and its bias, to be written to.
at::Tensor& output_projection(AttentionWeights& weights);
at::Tensor& output_bias(AttentionWeights& weights);  // undefined where there is none

}  // namespace mla
