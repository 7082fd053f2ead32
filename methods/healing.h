// Runs healers over a converted model, layer by layer, with the residual streams of both models beside each other.
#pragma once
#include "methods/parts.h"

namespace mla {

struct Healing {
  double seconds = 0, cpu_seconds = 0;  // wall, and of all threads
  int64_t tokens = 0;                   // calibration tokens that the healers saw
};

// `stats` are the original's, one per layer. `trace` is the original's stream over the same samples where calibration kept it (empty:
// the original is run again, with the same result); each layer of it is freed when it is used up. Memory beside the models and the
// trace: two streams of all samples, [tokens, D] each. Throws Interrupted, and NumericalError naming the layer.
Healing heal(const Decoder& original, Decoder& converted, const std::vector<std::unique_ptr<Healer>>& healers,
             const CalibrationSamples& samples, const CalibrationStats& stats, ResidualTrace trace = {});

}  // namespace mla
