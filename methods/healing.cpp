#include "methods/healing.h"

#include "core/base/process.h"
#include "core/base/progress.h"

namespace mla {
namespace {

// Both models' residual streams over the calibration samples, one layer at a time.
class Streams {
 public:
  Streams(const Decoder& original, const CalibrationSamples& samples, ResidualTrace trace) : original_(original), trace_(std::move(trace)) {
    for (const CalibrationBatch& batch : samples.batches) {
      const at::Tensor embedded = original.embed(batch.ids);
      batches_.push_back({embedded, embedded, batch.mask});
    }
  }
  // The original's attention of `layer`: targets are ready.
  const std::vector<HealingBatch>& enter(int64_t layer) {
    if (!trace_.empty()) return enter_traced(static_cast<std::size_t>(layer));
    for (HealingBatch& batch : batches_) {
      throw_if_interrupted();
      batch.target = batch.target + original_.attention_output(layer, original_.attention_input(layer, batch.target));
    }
    return batches_;
  }
  void leave(const Decoder& converted, int64_t layer) {
    for (HealingBatch& batch : batches_) {
      throw_if_interrupted();
      if (trace_.empty()) batch.target = batch.target + original_.mlp(layer, batch.target);
      batch.residual = converted.layer_forward(layer, batch.residual, converted.attention_input(layer, batch.residual));
      require_finite(batch.residual, "in healing after layer " + std::to_string(layer));
    }
  }

 private:
  const std::vector<HealingBatch>& enter_traced(std::size_t layer) {
    for (std::size_t b = 0; b < batches_.size(); ++b) batches_[b].target = std::move(trace_.at(layer).at(b));
    return batches_;
  }

  const Decoder& original_;
  ResidualTrace trace_;
  std::vector<HealingBatch> batches_;
};

}  // namespace

Healing heal(const Decoder& original, Decoder& converted, const std::vector<std::unique_ptr<Healer>>& healers,
             const CalibrationSamples& samples, const CalibrationStats& stats, ResidualTrace trace) {
  const Stopwatch watch;
  Streams streams(original, samples, std::move(trace));
  const auto layers = static_cast<int64_t>(original.layers.size());
  Progress progress("Healing", "layers", layers);
  for (int64_t layer = 0; layer < layers; ++layer) {
    const ConversionContext context{original, converted, layer, streams.enter(layer), stats[static_cast<std::size_t>(layer)]};
    for (const auto& healer : healers) healer->heal(context);
    if (layer + 1 < layers) streams.leave(converted, layer);
    progress.advance(layer + 1);
  }
  return {watch.seconds(), watch.cpu(), samples.tokens()};
}

}  // namespace mla
