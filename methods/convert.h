// From a GQA decoder to an MLA decoder. Unchanged tensors (norms, MLP, embedding, output projection) are shared.
#pragma once
#include <functional>

#include "methods/healing.h"
#include "methods/layer_conversion.h"

namespace mla {

using CollectStats = std::function<CalibrationStats(const Decoder& model, const StatKinds& kinds, const std::string& state)>;

// Where convert() gets what takes long. A plain CollectStats will do; then nothing but statistics is ever found on disk.
struct ConversionSource {
  template <class Collect>
  ConversionSource(Collect collect, std::string cache_key = "") : stats(std::move(collect)), key(std::move(cache_key)) {}
  CalibrationStats operator()(const Decoder& model, const StatKinds& kinds, const std::string& state) const { return stats(model, kinds, state); }

  CollectStats stats;
  // What stats() kept of the original's stream when it ran the original over the healers' samples; empty where it found statistics.
  std::function<ResidualTrace()> take_trace = [] { return ResidualTrace(); };
  std::string key;  // names model and samples: decompositions are cached under it; empty: they are not
};

struct Conversion {
  std::optional<Decoder> partial_rope;  // split only, nothing compressed; absent where the method has none
  Decoder converted;
  std::vector<LayerRanks> ranks;  // of each layer's parts; 0 where nothing was compressed
  Healing healing;  // zeros where the recipe heals nothing
  // [layer][part] of each direction [R], descending, in the factorizer's own unit; undefined for parts that are kept whole.
  std::vector<std::vector<at::Tensor>> energies;
};

// `collect` runs (or finds) a calibration pass; it is called for the original and, where the recipe re-calibrates, for the
// partial-RoPE model. Healers run over `samples`; both models of the result share tensors, so healers replace and never write into them. Throws ConfigError for a rank or dims the model does not admit, and for healers
// without samples; NumericalError naming the layer.
Conversion convert(const Decoder& original, const Recipe& recipe, const ConversionSource& collect,
                   const CalibrationSamples* samples = nullptr);

// The first stage alone: split, nothing compressed. For searches, and as convert() itself makes it.
Decoder partial_rope_model(const Decoder& original, const Recipe& recipe, const ConversionSource& collect);

}  // namespace mla
