// Statistics of a model whose layers come one at a time: those of a layer are used and dropped before the next are made.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "core/calibration/stats.h"
#include "core/model/layer_stream.h"

namespace mla {

// One pass over the samples, a layer at a time: the caller brings each layer when its turn comes. Memory: one stream of all samples,
// [tokens, D], beside the layer. Gradients are not among what it measures.
class StatsPass {
 public:
  StatsPass(const Decoder& frame, const CalibrationSamples& samples, const StatKinds& kinds);
  // Of `layer`, the one behind that of the call before; `model` has it in its place. `behind_attention`, where given, gets the streams
  // there. Throws as collect_stats does.
  LayerStats measure(const Decoder& model, int64_t layer, std::vector<at::Tensor>* behind_attention = nullptr);

 private:
  StatKinds kinds_;
  std::vector<at::Tensor> hidden_, masks_;  // of each batch, before the layer; on the model's device
};

class StatsStream {
 public:
  virtual ~StatsStream() = default;
  // Of `layer`, the one behind that of the call before. `model` has it in its place, with the parts that reads() names.
  // Throws as collect_stats does.
  virtual LayerStats next(const Decoder& model, int64_t layer) = 0;
  virtual LayerParts reads() const = 0;
};

using MeasureStats = std::function<std::unique_ptr<StatsStream>()>;

// Measured on `samples`, which outlive it, as collect_stats measures them. Throws ConfigError for gradients, which need the whole model.
std::unique_ptr<StatsStream> measured_stats(const Decoder& frame, const CalibrationSamples& samples, const StatKinds& kinds);

// From the disk cache where it holds all layers under `key`, as cached_stats() and this keep them; else as measure() gives them.
std::unique_ptr<StatsStream> cached_stats_stream(const std::string& key, const MeasureStats& measure, bool* hit = nullptr);

}  // namespace mla
