// The ridge regression that refits a layer's output projections, and what it is fitted to.
#pragma once
#include "methods/parts.h"

namespace mla {

// argmin_W  sum_t w_t |W a_t - y_t|^2 + ridge * mean diagonal of (sum_t w_t a_t a_t^T) * |W - W_0|^2, batch by batch, sums in fp64.
class RidgeSystem {
 public:
  // Of a projection `like` [outputs, inputs], on its device.
  explicit RidgeSystem(const at::Tensor& like)
      : products_(at::zeros({like.size(1), like.size(1)}, like.options().dtype(at::kDouble))), cross_(at::zeros(like.sizes(), products_.options())) {}
  // values [N,inputs]  wanted [N,outputs]  weights [N], all fp32
  void add(const at::Tensor& values, const at::Tensor& wanted, const at::Tensor& weights);
  // `weight` [outputs, inputs] is W_0 and becomes W, in its own dtype. It stays where all values are zero.
  void solve(double ridge, at::Tensor& weight) const;

 private:
  at::Tensor products_, cross_;
};

// 1 / mean square of the original's stream at each token (massive activations would else be all that counts), 0 on padding. A token
// that is massive in the converted stream alone has that stream's mean square: nothing can bring it back, and it would rule the fit.
// `added` [B*T,D] fp32, optional: what the part under refit adds to the converted stream now. An MLP makes massive tokens: one that it
// makes of a token that is none in the original (docs/methods.md, token weights) would cost the others theirs.
// [B,T] fp32
at::Tensor token_weights(const HealingBatch& batch, const at::Tensor& added = {});

// A projection whose output is added to the residual stream, behind a norm where the model has one (gemma2).
struct OutputProjection {
  const at::Tensor& weight;  // [D, inputs]
  const at::Tensor& bias;    // [D], optional
  const at::Tensor& norm;    // [D], optional
};
// weight * values + bias, before the norm.  values [N,inputs] fp32  ->  [N,D] fp32
at::Tensor output_now(const OutputProjection& projection, const at::Tensor& values);
// What weight * values should give so that the stream `residual` becomes `target`: their difference less the bias. Where there is a norm,
// that difference through it backwards: divided by its weights and set to the rms that the projection gives now, which the norm does not
// see.  values [B*T,inputs]  ->  [B*T,D] fp32
at::Tensor wanted_output(const OutputProjection& projection, const HealingBatch& batch, const at::Tensor& values);

}  // namespace mla
