// Runs healers over a converted model, layer by layer, with the residual streams of both models beside each other.
#pragma once
#include "methods/parts.h"

namespace mla {

using Healers = std::vector<std::unique_ptr<Healer>>;

struct Healing {
  double seconds = 0, cpu_seconds = 0;  // wall, and of all threads
  int64_t tokens = 0;                   // calibration tokens that the healers saw
};

// Both models' residual streams over the calibration samples, a layer at a time.
class HealingPass {
 public:
  // `frame` gives the embeddings, the same in both models; `trace` as in heal().
  HealingPass(const Decoder& frame, const CalibrationSamples& samples, ResidualTrace trace = {});
  // Heals `layer`, the one behind that of the call before, and takes both streams through it. Both models have it in its place.
  void heal(const Decoder& original, Decoder& converted, int64_t layer, const Healers& healers, const LayerStats& stats);

 private:
  void enter(const Decoder& original, int64_t layer);
  void pass_attention(const Decoder& original, const Decoder& converted, int64_t layer, bool mlp_targets);
  void pass_mlp(const Decoder& converted, int64_t layer);

  ResidualTrace trace_;
  std::vector<HealingBatch> batches_;
};

// `stats` are the original's, one per layer. `trace` is the original's stream over the same samples where calibration kept it (empty:
// the original is run again, with the same result); each layer of it is freed when it is used up. Memory beside the models and the
// trace: two streams of all samples, [tokens, D] each. Throws Interrupted, and NumericalError naming the layer.
Healing heal(const Decoder& original, Decoder& converted, const Healers& healers,
             const CalibrationSamples& samples, const CalibrationStats& stats, ResidualTrace trace = {});

}  // namespace mla
