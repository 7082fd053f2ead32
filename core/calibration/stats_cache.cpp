// Statistics as named tensors, so that they are cached on disk.
#include <optional>

#include "core/base/error.h"
#include "core/base/file_lock.h"
#include "core/calibration/stats_stream.h"
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

// A file of the cache holds one layer, and how many there are.
NamedTensors flatten(const LayerStats& stats, int64_t layers) {
  NamedTensors flat{{"tokens", at::tensor({stats.input.tokens, stats.projections.tokens, stats.gradients.tokens}, at::kLong)},
                    {"layers", at::tensor({layers}, at::kLong)}};
  each_tensor(stats, [&](const char* name, const at::Tensor& tensor) {
    if (tensor.defined()) flat.emplace_back(name, tensor);
  });
  return flat;
}

LayerStats unflatten(const NamedTensors& flat) {
  LayerStats stats;
  const at::Tensor tokens = find_tensor(flat, "tokens");
  stats.input.tokens = tokens[0].item<int64_t>();
  stats.projections.tokens = tokens[1].item<int64_t>();
  stats.gradients.tokens = tokens[2].item<int64_t>();
  each_tensor(stats, [&](const char* name, at::Tensor& tensor) { tensor = find_tensor(flat, name); });
  return stats;
}

std::string layer_key(const std::string& key, int64_t layer) { return key + "\nlayer " + std::to_string(layer); }

// Of all layers, one after another to `take`. False where one is missing.
bool find_all(const std::string& key, const std::function<void(LayerStats)>& take) {
  int64_t layers = 1;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const NamedTensors flat = find_cached_tensors("stats", layer_key(key, layer));
    if (flat.empty()) return false;
    layers = find_tensor(flat, "layers").item<int64_t>();
    take(unflatten(flat));
  }
  return true;
}

CalibrationStats found_stats(const std::string& key) {
  CalibrationStats stats;
  return find_all(key, [&](LayerStats layer) { stats.push_back(std::move(layer)); }) ? stats : CalibrationStats();
}

bool holds_all(const std::string& key) {
  return find_all(key, [](const LayerStats&) {});
}

// Held while statistics are measured that the cache will hold.
struct Measuring : FileLock {
  explicit Measuring(const std::string& key) : FileLock(cached_tensors_file("stats", key).string() + ".lock", "another process computes what the cache will hold") {}
};

class FoundStats : public StatsStream {
 public:
  explicit FoundStats(std::string key) : key_(std::move(key)) {}
  LayerParts reads() const override { return LayerParts::outline; }
  LayerStats next(const Decoder&, int64_t layer) override {
    if (const NamedTensors flat = find_cached_tensors("stats", layer_key(key_, layer)); !flat.empty()) return unflatten(flat);
    fail<ResourceError>("calibration", "the cached statistics of layer ", layer, " went while they were read; run the command again");
  }

 private:
  std::string key_;
};

class MeasuredStats : public StatsStream {
 public:
  MeasuredStats(const Decoder& frame, const CalibrationSamples& samples, const StatKinds& kinds) : pass_(frame, samples, kinds) {}
  LayerParts reads() const override { return LayerParts::whole; }
  LayerStats next(const Decoder& model, int64_t layer) override { return pass_.measure(model, layer); }

 private:
  StatsPass pass_;
};

// Measured, and kept on disk layer by layer.
class KeptStats : public StatsStream {
 public:
  KeptStats(std::string key, std::unique_ptr<StatsStream> inner, std::unique_ptr<Measuring> lock)
      : key_(std::move(key)), inner_(std::move(inner)), lock_(std::move(lock)) {}
  LayerParts reads() const override { return inner_->reads(); }
  LayerStats next(const Decoder& model, int64_t layer) override {
    LayerStats stats = inner_->next(model, layer);
    keep_cached_tensors("stats", layer_key(key_, layer), flatten(stats, static_cast<int64_t>(model.layers.size())));
    return stats;
  }

 private:
  std::string key_;
  std::unique_ptr<StatsStream> inner_;
  std::unique_ptr<Measuring> lock_;
};

}  // namespace

LayerStats to(const LayerStats& stats, at::Device device) {
  LayerStats moved = stats;
  each_tensor(moved, [&](const char*, at::Tensor& tensor) {
    if (tensor.defined()) tensor = tensor.to(device);
  });
  return moved;
}

CalibrationStats cached_stats(const std::string& key, const std::function<CalibrationStats()>& collect, bool* hit) {
  CalibrationStats stats = found_stats(key);
  std::optional<Measuring> lock;
  if (stats.empty() && lock.emplace(key).waited()) stats = found_stats(key);
  if (hit != nullptr) *hit = !stats.empty();
  if (!stats.empty()) return stats;
  stats = collect();
  const auto layers = static_cast<int64_t>(stats.size());
  for (int64_t layer = 0; layer < layers; ++layer) keep_cached_tensors("stats", layer_key(key, layer), flatten(stats[static_cast<std::size_t>(layer)], layers));
  return stats;
}

std::unique_ptr<StatsStream> measured_stats(const Decoder& frame, const CalibrationSamples& samples, const StatKinds& kinds) {
  if (kinds.gradient_moments)
    fail<ConfigError>("calibration", "wanted statistics of one layer after another; those of gradients come from a backward pass over the whole model. "
                      "Leave --stream out, or run such a calibration once without it: the cache keeps them");
  return std::make_unique<MeasuredStats>(frame, samples, kinds);
}

std::unique_ptr<StatsStream> cached_stats_stream(const std::string& key, const MeasureStats& measure, bool* hit) {
  std::unique_ptr<Measuring> lock;
  bool found = holds_all(key);
  if (!found) {
    lock = std::make_unique<Measuring>(key);
    found = lock->waited() && holds_all(key);
  }
  if (hit != nullptr) *hit = found;
  if (found) return std::make_unique<FoundStats>(key);
  return std::make_unique<KeptStats>(key, measure(), std::move(lock));
}

}  // namespace mla
