// Closed form: the output projection W_O of a converted layer fitted by ridge regression, so that the converted prefix reproduces
// the original's residual stream:  argmin_W  sum_t w_t |W a_t - (target_t - residual_t)|^2 + lambda |W - W_O|^2,
// a_t the layer's mixed values on the converted stream, lambda = ridge * mean diagonal of sum_t w_t a_t a_t^T.
#pragma once
#include "methods/parts.h"

namespace mla {

struct OutputRefitOptions {
  double ridge = 0.1;
};
std::unique_ptr<Healer> make_output_refit(const OutputRefitOptions& options);

// 1 / mean square of the original's stream at each token (massive activations would else be all that counts), 0 on padding. A token
// that is massive in the converted stream alone has that stream's mean square: nothing can bring it back, and it would rule the fit.
// [B,T] fp32
at::Tensor token_weights(const HealingBatch& batch);

// What W_O applied to the heads' values should give, so that the converted stream meets the original's: the difference of the streams,
// less W_O's bias. Where the model norms attention's output (gemma2), that difference through the norm backwards: divided by its
// weights and set to the rms that W_O gives now, which the norm does not see.  heads [B*T,H*v]  ->  [B*T,D]
at::Tensor wanted_output(const ConversionContext& context, const HealingBatch& batch, const at::Tensor& heads);

// A layer's output projection and its bias, to be written to.
at::Tensor& output_projection(AttentionWeights& weights);
at::Tensor& output_bias(AttentionWeights& weights);  // undefined where there is none

}  // namespace mla
