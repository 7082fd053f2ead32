#include "experiments/model_plan.h"

#include <numeric>

#include "core/checkpoint/expected_tensors.h"
#include "core/model/layer_files.h"
#include "methods/convert.h"

namespace mla {
namespace {

int64_t product(const std::vector<int64_t>& shape) { return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()); }

Json shapes_of(const AttentionWeights& weights) {
  Json shapes = Json::object();
  for (const auto& [name, tensor] : named_tensors(weights)) shapes[name] = tensor.sizes().vec();
  return shapes;
}

// The model's first layer by itself: embedding and norm are stand-ins.
Decoder first_layer(const Checkpoint& checkpoint, at::ScalarType dtype) {
  Decoder decoder;
  decoder.config = checkpoint.config();
  decoder.embedding = decoder.head = at::zeros({1, decoder.config.hidden_size}, dtype);
  decoder.final_norm = at::ones({decoder.config.hidden_size}, dtype);
  decoder.layers.push_back(read_layer({checkpoint, at::kCPU, dtype}, 0));
  return decoder;
}

// One layer's statistics that say nothing: every direction counts the same.
LayerStats unit_stats(const ModelConfig& c, bool normed) {
  const int64_t keys = c.num_kv_heads * c.head_dim, projections = c.num_heads * c.head_dim + 2 * keys, tokens = 8;
  const auto eye = [](int64_t size) { return at::eye(size, at::kDouble); };
  const auto ones = [](int64_t rows, int64_t columns) { return at::ones({rows, columns}, at::kDouble); };
  LayerStats stats;
  stats.input = {1, at::zeros({c.hidden_size}, at::kDouble), eye(c.hidden_size)};
  stats.projections = {1, at::zeros({projections}, at::kDouble), eye(projections)};
  stats.attended = normed ? stats.projections : stats.input;
  stats.pairs = {ones(c.num_heads, c.head_dim / 2), ones(c.num_kv_heads, c.head_dim / 2)};
  stats.gradients = {1, eye(keys), eye(keys), eye(c.hidden_size), ones(1, c.num_kv_heads)[0], ones(1, c.num_kv_heads)[0]};
  stats.rows = {at::ones({1, tokens, c.num_heads, c.head_dim}), at::ones({1, tokens, c.num_kv_heads, c.head_dim})};
  stats.latents = {at::ones({2}, at::kDouble), at::ones({2}, at::kDouble)};
  return stats;
}

std::vector<LayerStreams> every_layer(LayerStreams one, const ModelConfig& config) {
  std::vector<LayerStreams> layers;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    one.window = config.window(i);
    layers.push_back(one);
  }
  return layers;
}

// Bytes of one layer's cache, from an object that held some tokens; from kCounted on each more costs the same.
class CountedLayer {
 public:
  CountedLayer(const LayerStreams& streams, const CacheFormat& format, at::ScalarType dtype) : streams_(streams), format_(format), dtype_(dtype) {
    LayerCache cache(format);
    extend(cache, kCounted);
    many_ = cache.bytes();
    extend(cache, 1);
    next_ = cache.bytes() - many_;
  }
  int64_t bytes(int64_t tokens) const {
    if (tokens >= kCounted) return many_ + (tokens - kCounted) * next_;
    LayerCache cache(format_);
    if (tokens > 0) extend(cache, tokens);
    return cache.bytes();
  }

 private:
  static constexpr int64_t kCounted = 256;  // beyond the tokens that stay unquantised
  void extend(LayerCache& cache, int64_t tokens) const {
    cache.extend(at::zeros({1, tokens, streams_.first}, dtype_), at::zeros({1, tokens, streams_.second}, dtype_));
  }
  LayerStreams streams_;
  CacheFormat format_;
  at::ScalarType dtype_;
  int64_t many_ = 0, next_ = 0;
};

}  // namespace

LayerStreams streams_of(const AttentionWeights& weights) {
  const LayerCache::Streams streams = cache_of_one_token(weights).read();
  const int64_t window = std::visit([](const auto& form) { return form.limits.window; }, weights);
  return {streams.first.size(2), streams.second.size(2), window};
}

ModelCount count_model(const Checkpoint& checkpoint, at::ScalarType dtype) {
  check_tensors(checkpoint);
  const ModelConfig& config = checkpoint.config();
  ModelCount count;
  for (const ExpectedTensor& each : expected_tensors(config)) count.parameters += product(checkpoint.shape(each.name));
  const Decoder first = first_layer(checkpoint, dtype);
  count.attention = shapes_of(first.layers[0].attention);
  if (!config.mla) {
    count.layers = every_layer(streams_of(first.layers[0].attention), config);
    return count;
  }
  const TensorSource source(checkpoint, at::kCPU, dtype);
  for (int64_t i = 0; i < config.num_layers; ++i)
    count.layers.push_back(streams_of(read_described_attention(source, "model.layers." + std::to_string(i) + ".self_attn.", i)));
  return count;
}

Decoder first_layer_converted(const Checkpoint& checkpoint, Recipe recipe, at::ScalarType dtype) {
  recipe.healers.clear();  // they change values, never shapes; nor does what a search chooses
  recipe.search = nullptr;
  const Decoder first = first_layer(checkpoint, dtype);
  const auto* gqa = std::get_if<GqaWeights>(&first.layers[0].attention);
  const LayerStats stats = unit_stats(first.config, gqa != nullptr && gqa->norm.has_value());
  return convert(first, recipe, [&](const Decoder&, const StatKinds&, const std::string&) { return CalibrationStats{stats}; }).converted;
}

ModelCount count_conversion(const Checkpoint& checkpoint, Recipe recipe, at::ScalarType dtype) {
  const Decoder first = first_layer(checkpoint, dtype), converted = first_layer_converted(checkpoint, std::move(recipe), dtype);
  ModelCount count;
  count.attention = shapes_of(converted.layers[0].attention);
  for (const ExpectedTensor& each : expected_tensors(first.config)) count.parameters += product(checkpoint.shape(each.name));
  count.parameters += first.config.num_layers * (converted.parameters() - first.parameters());
  count.layers = every_layer(streams_of(converted.layers[0].attention), first.config);
  return count;
}

int64_t cache_bytes(const std::vector<LayerStreams>& layers, const CacheFormat& format, at::ScalarType dtype, int64_t context, bool within_windows) {
  std::map<std::pair<int64_t, int64_t>, CountedLayer> counted;  // layers of one shape cost the same
  int64_t sum = 0;
  for (const LayerStreams& layer : layers) {
    const CountedLayer& one = counted.try_emplace({layer.first, layer.second}, layer, format, dtype).first->second;
    sum += one.bytes(within_windows && layer.window > 0 ? std::min(layer.window, context) : context);
  }
  return sum;
}

}  // namespace mla
