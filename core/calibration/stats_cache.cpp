// Statistics as named tensors, so that they are cached on disk.
#include "core/calibration/stats.h"
#include "core/calibration/tensor_cache.h"

namespace mla {
namespace {

// Every tensor of a layer's statistics under its name in the file.
template <class Stats, class Visit>
void each_tensor(Stats& s, const Visit& visit) {
  visit("mean", s.input.mean), visit("second", s.input.second);
  visit("projections.mean", s.projections.mean), visit("projections.second", s.projections.second);
  visit("attended.mean", s.attended.mean), visit("attended.second", s.attended.second);
  visit("query", s.pairs.query), visit("key", s.pairs.key);
  visit("gradients.key", s.gradients.key), visit("gradients.value", s.gradients.value), visit("gradients.residual", s.gradients.residual);
  visit("gradients.key_fisher", s.gradients.key_fisher), visit("gradients.value_fisher", s.gradients.value_fisher);
  visit("rows.query", s.rows.query), visit("rows.key", s.rows.key);
  visit("latents.key_value", s.latents.key_value), visit("latents.query", s.latents.query);
}

NamedTensors flatten(const CalibrationStats& stats) {
  NamedTensors flat;
  for (std::size_t i = 0; i < stats.size(); ++i) {
    const std::string prefix = std::to_string(i) + '.';
    flat.emplace_back(prefix + "tokens", at::tensor({stats[i].input.tokens, stats[i].projections.tokens, stats[i].gradients.tokens}, at::kLong));
    each_tensor(stats[i], [&](const char* name, const at::Tensor& tensor) {
      if (tensor.defined()) flat.emplace_back(prefix + name, tensor);
    });
  }
  return flat;
}

CalibrationStats unflatten(const NamedTensors& flat) {
  CalibrationStats stats;
  for (std::size_t i = 0;; ++i) {
    const std::string prefix = std::to_string(i) + '.';
    const at::Tensor tokens = find_tensor(flat, prefix + "tokens");
    if (!tokens.defined()) return stats;
    LayerStats layer;
    layer.input.tokens = tokens[0].item<int64_t>();
    layer.projections.tokens = tokens[1].item<int64_t>();
    layer.gradients.tokens = tokens[2].item<int64_t>();
    each_tensor(layer, [&](const char* name, at::Tensor& tensor) { tensor = find_tensor(flat, prefix + name); });
    stats.push_back(std::move(layer));
  }
}

}  // namespace

CalibrationStats cached_stats(const std::string& key, const std::function<CalibrationStats()>& collect, bool* hit) {
  return unflatten(cached_tensors("stats", key, [&] { return flatten(collect()); }, hit));
}

}  // namespace mla
