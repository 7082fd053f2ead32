// From a GQA decoder to an MLA decoder. Unchanged tensors (norms, MLP, embedding, output projection) are shared.
#pragma once
#include <functional>

#include "methods/parts.h"

namespace mla {

using CollectStats = std::function<CalibrationStats(const Decoder& model, const StatKinds& kinds, const std::string& state)>;

struct Conversion {
  std::optional<Decoder> partial_rope;  // split only, nothing compressed; absent where the method has none
  Decoder converted;
  std::vector<int64_t> ranks;  // per layer; 0 where nothing was compressed
};

// `collect` runs (or finds) a calibration pass; it is called for the original and, where the recipe re-calibrates, for the
// partial-RoPE model. Throws ConfigError for a rank or dims the model does not admit, NumericalError naming the layer.
Conversion convert(const Decoder& original, const Recipe& recipe, const CollectStats& collect);

// [latent; up] of a split layer with nothing compressed, as attention weights in `dtype`.
MlaWeights assemble(const SplitLayer& split, const Spectrum& spectrum, int64_t rank, at::ScalarType dtype);
Spectrum identity_spectrum(const SplitLayer& split);

}  // namespace mla
