#include "methods/linear_layer.h"

namespace mla {
namespace {

at::Tensor wide(const at::Tensor& t) { return t.to(at::kDouble); }

// [W, b], b zero where there is none.
at::Tensor with_bias(const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor column = bias.defined() ? wide(bias) : at::zeros({weight.size(0)}, weight.options().dtype(at::kDouble));
  return at::cat({wide(weight), column.unsqueeze(1)}, 1);
}

// Moments of [x; 1].
InputMoments with_one(const InputMoments& input) {
  if (!input.second.defined()) return input;
  const at::Tensor mean = input.mean.unsqueeze(1), one = at::ones({1, 1}, mean.options());
  return {input.tokens, at::cat({input.mean, one[0]}), at::cat({at::cat({input.second, mean}, 1), at::cat({mean.t(), one}, 1)})};
}

// f (R q) . f (R k) = (R f^2 q) . (R k); pairs of frequency 0 are not scaled.
void fold_attention_factor(GqaWeights& w) {
  const double factor = w.rope.attention_factor;
  if (factor == 1) return;
  const at::Tensor scales = at::where(w.rope.inv_freq[0].eq(0), at::ones_like(w.rope.inv_freq[0]), factor * factor).to(w.q.device());  // [h/2]
  w.q = (w.q.unflatten(0, {w.heads, 2, -1}) * scales.view({1, 1, -1, 1})).flatten(0, 2);
  w.rope.attention_factor = 1;
}

bool has_biases(const GqaWeights& w) { return w.q_bias.defined() || w.k_bias.defined() || w.v_bias.defined(); }

}  // namespace

StatKinds kinds_for(const GqaWeights& layer, CacheForm form, StatKinds wanted) {
  if (layer.norm && form == CacheForm::latent && (wanted.input_moments || wanted.prefix_moments)) {
    wanted.input_moments = wanted.prefix_moments = false;
    wanted.projection_moments = true;
  }
  return wanted;
}

LinearLayer linear_layer(const GqaWeights& layer, const LayerStats& measured, CacheForm form) {
  const LayerStats stats = to(measured, layer.q.device());
  LinearLayer linear{.weights = layer, .stats = stats, .o_bias = layer.o_bias};
  GqaWeights& w = linear.weights;
  w.norm.reset();
  for (at::Tensor* bias : {&w.q_bias, &w.k_bias, &w.v_bias, &w.o_bias}) *bias = at::Tensor();
  if (layer.norm && form == CacheForm::latent) {
    linear.normed = NormedProjections{layer.q, layer.k, layer.v, layer.q_bias, layer.k_bias, layer.v_bias, *layer.norm, layer.head_dim};
    const int64_t queries = layer.q.size(0), keys = layer.k.size(0), values = layer.v.size(0);
    const at::Tensor all = at::eye(queries + keys + values, layer.q.options().dtype(at::kDouble));
    w.q = all.narrow(0, 0, queries);
    w.k = all.narrow(0, queries, keys);
    w.v = all.narrow(0, queries + keys, values);
    fold_attention_factor(w);
    if (stats.projections.second.defined()) linear.stats.input = stats.projections;
    return linear;
  }
  linear.norm = layer.norm;
  linear.biased = has_biases(layer);
  w.q = linear.biased ? with_bias(layer.q, layer.q_bias) : wide(layer.q);
  w.k = linear.biased ? with_bias(layer.k, layer.k_bias) : wide(layer.k);
  w.v = linear.biased ? with_bias(layer.v, layer.v_bias) : wide(layer.v);
  if (form == CacheForm::latent) fold_attention_factor(w);
  if (linear.biased) {
    linear.stats.input = with_one(stats.input);
    linear.stats.attended = with_one(stats.attended);
  }
  return linear;
}

Affine affine(const LinearLayer& layer, const at::Tensor& rows, Reads reads, at::ScalarType dtype) {
  const auto cast = [&](const at::Tensor& t) { return t.to(dtype).contiguous(); };
  if (layer.normed) {
    const int64_t queries = layer.normed->query_width();
    return {cast(reads == Reads::queries ? rows.narrow(1, 0, queries) : rows.slice(1, queries)), {}};
  }
  if (!layer.biased) return {cast(rows), {}};
  const int64_t width = rows.size(1) - 1;
  return {cast(rows.narrow(1, 0, width)), cast(rows.select(1, width))};
}

}  // namespace mla
