#include "core/model/decoder.h"

#include <unordered_set>

#include "core/base/error.h"
#include "core/model/cpu_kernels.h"

namespace mla {

at::Tensor Decoder::embed(const at::Tensor& ids) const { return at::embedding(embedding, ids.to(device())); }

at::Tensor Decoder::attention_input(int64_t layer, const at::Tensor& residual) const {
  return rms_norm(residual, layers[static_cast<std::size_t>(layer)].attention_norm, config.rms_norm_eps);
}

at::Tensor Decoder::layer_forward(int64_t layer, const at::Tensor& residual, const at::Tensor& normed, LayerCache* cache,
                                  MlaPath path) const {
  const DecoderLayer& weights = layers[static_cast<std::size_t>(layer)];
  at::Tensor hidden = attention_forward(weights.attention, normed, cache, path).add_(residual);
  return hidden.add_(mlp(layer, hidden));
}

at::Tensor Decoder::mlp(int64_t layer, const at::Tensor& residual) const {
  const DecoderLayer& weights = layers[static_cast<std::size_t>(layer)];
  const at::Tensor inner = swiglu(at::linear(rms_norm(residual, weights.mlp_norm, config.rms_norm_eps), weights.gate_up));
  return at::linear(inner, weights.down);
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

at::Tensor Decoder::logits(const at::Tensor& hidden) const { return at::linear(hidden, head).to(at::kFloat); }

at::Tensor Decoder::packed_hidden(const at::Tensor& ids, const std::vector<Segment>& segments) const {
  if (ids.dim() != 1) fail<ShapeError>("decoder", "wanted ids [N], got ", ids.sizes());
  for (const Segment& segment : segments)
    if (segment.cache != nullptr) segment.cache->prepare(layers.size());
  at::Tensor hidden = embed(ids.unsqueeze(0));
  for (int64_t layer = 0; layer < static_cast<int64_t>(layers.size()); ++layer) {
    hidden = packed_attention(layers[static_cast<std::size_t>(layer)].attention, attention_input(layer, hidden), segments, layer).add_(hidden);
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
  for (const DecoderLayer& layer : layers) {
    for (const at::Tensor* t : {&layer.attention_norm, &layer.mlp_norm, &layer.gate_up, &layer.down}) add(*t);
    for (const auto& [name, tensor] : named_tensors(layer.attention)) add(tensor);
  }
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
