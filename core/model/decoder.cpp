#include "core/model/decoder.h"

#include <unordered_set>

#include "core/base/error.h"
#include "core/model/cpu_kernels.h"

namespace mla {

void each_layer_tensor(DecoderLayer& layer, const std::function<void(at::Tensor&)>& visit) {
  for (at::Tensor* t : {&layer.attention_norm, &layer.mlp_norm, &layer.gate_up, &layer.down, &layer.gate_up_bias, &layer.down_bias,
                        &layer.attention_post_norm, &layer.mlp_post_norm})
    visit(*t);
  if (layer.experts)
    for (at::Tensor* t : {&layer.experts->router, &layer.experts->gate_up, &layer.experts->down}) visit(*t);
  each_attention_tensor(layer.attention, visit);
}

at::Tensor Decoder::embed(const at::Tensor& ids) const {
  const at::Tensor rows = at::embedding(embedding, ids.to(device()));
  if (config.embedding_scale == 1) return rows;
  return rows * at::full({}, config.embedding_scale, rows.options());  // the scale is rounded to the model's dtype first
}

at::Tensor Decoder::attention_input(int64_t layer, const at::Tensor& residual) const {
  return rms_norm(residual, layers[static_cast<std::size_t>(layer)].attention_norm, config.rms_norm_eps);
}

at::Tensor Decoder::layer_forward(int64_t layer, const at::Tensor& residual, const at::Tensor& normed, LayerCache* cache,
                                  MlaPath path) const {
  at::Tensor hidden = attention_output(layer, normed, cache, path).add_(residual);
  return hidden.add_(mlp(layer, hidden));
}

at::Tensor Decoder::after_attention(int64_t layer, const at::Tensor& output) const {
  const at::Tensor& norm = layers[static_cast<std::size_t>(layer)].attention_post_norm;
  return norm.defined() ? rms_norm(output, norm, config.rms_norm_eps) : output;
}

at::Tensor Decoder::attention_output(int64_t layer, const at::Tensor& normed, LayerCache* cache, MlaPath path) const {
  return after_attention(layer, attention_forward(layers[static_cast<std::size_t>(layer)].attention, normed, cache, path));
}

at::Tensor Decoder::mlp_values(int64_t layer, const at::Tensor& residual) const {
  const DecoderLayer& weights = layers[static_cast<std::size_t>(layer)];
  return gated(project(rms_norm(residual, weights.mlp_norm, config.rms_norm_eps), weights.gate_up, weights.gate_up_bias), config.activation);
}

at::Tensor Decoder::mlp(int64_t layer, const at::Tensor& residual) const {
  const DecoderLayer& weights = layers[static_cast<std::size_t>(layer)];
  const at::Tensor out = weights.experts ? experts_forward(*weights.experts, rms_norm(residual, weights.mlp_norm, config.rms_norm_eps), config.activation)
                                         : project(mlp_values(layer, residual), weights.down, weights.down_bias);
  return weights.mlp_post_norm.defined() ? rms_norm(out, weights.mlp_post_norm, config.rms_norm_eps) : out;
}

at::Tensor Decoder::last_hidden(const at::Tensor& ids, KvCache* cache, MlaPath path) const {
  if (ids.dim() != 2) fail<ShapeError>("decoder", "wanted ids [B,T], got ", ids.sizes());
  if (cache != nullptr) cache->prepare(layers.size());
  at::Tensor hidden = embed(ids);
  for (int64_t layer = 0; layer < static_cast<int64_t>(layers.size()); ++layer) {
    LayerCache* layer_cache = cache != nullptr ? &cache->layers[static_cast<std::size_t>(layer)] : nullptr;
    hidden = layer_forward(layer, hidden, attention_input(layer, hidden), layer_cache, path);
    if (device().is_cpu()) require_finite(hidden, "after layer " + std::to_string(layer));
  }
  if (!device().is_cpu()) require_finite(hidden, "after the last layer");
  return rms_norm(hidden, final_norm, config.rms_norm_eps);
}

at::Tensor Decoder::logits(const at::Tensor& hidden) const {
  const at::Tensor logits = project(hidden, head).to(at::kFloat);
  return config.logit_softcap > 0 ? at::tanh(logits / config.logit_softcap) * config.logit_softcap : logits;
}

at::Tensor Decoder::packed_hidden(const at::Tensor& ids, const std::vector<Segment>& segments) const {
  if (ids.dim() != 1) fail<ShapeError>("decoder", "wanted ids [N], got ", ids.sizes());
  std::vector<Segment> there = segments;  // masks go to the device once, not in every layer
  for (Segment& segment : there) {
    if (segment.cache != nullptr) segment.cache->prepare(layers.size());
    if (segment.mask.defined()) segment.mask = segment.mask.to(device());
  }
  at::Tensor hidden = embed(ids.unsqueeze(0));
  for (int64_t layer = 0; layer < static_cast<int64_t>(layers.size()); ++layer) {
    const at::Tensor attended = packed_attention(layers[static_cast<std::size_t>(layer)].attention, attention_input(layer, hidden), there, layer);
    hidden = after_attention(layer, attended).add_(hidden);
    hidden.add_(mlp(layer, hidden));
    if (device().is_cpu()) require_finite(hidden, "after layer " + std::to_string(layer));
  }
  if (!device().is_cpu()) require_finite(hidden, "after the last layer");
  return rms_norm(hidden, final_norm, config.rms_norm_eps)[0];
}

int64_t Decoder::parameters() const {
  std::unordered_set<const void*> seen;
  int64_t count = 0;
  const auto add = [&](const at::Tensor& t) {
    if (t.defined() && seen.insert(t.const_data_ptr()).second) count += t.numel();
  };
  add(embedding), add(final_norm), add(head);
  for (DecoderLayer layer : layers) each_layer_tensor(layer, add);
  return count;
}

std::vector<int64_t> Decoder::cache_values_by_layer() const {
  std::vector<int64_t> values;
  for (const DecoderLayer& layer : layers) values.push_back(cache_values_per_token(layer.attention));
  return values;
}

double Decoder::cache_values_per_token_per_layer() const {
  double sum = 0;
  for (const int64_t values : cache_values_by_layer()) sum += static_cast<double>(values);
  return sum / static_cast<double>(layers.size());
}

void require_finite(const at::Tensor& values, const std::string& where) {
  // The sum of a tensor is finite only when every element is (an overflow of the sum itself is an error as well).
  if (!std::isfinite(values.sum(at::kFloat).item<float>()))
    fail<NumericalError>("decoder", "wanted finite values ", where, ", got NaN or infinity; try --dtype fp32, or check the checkpoint");
}

}  // namespace mla
