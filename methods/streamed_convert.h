// convert() for a model of which one layer at a time is in memory: statistics are measured or read, used and dropped layer by layer, what is
// made waits in a scratch file. Equal weights to those of convert(), bit for bit.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "core/calibration/stats_stream.h"
#include "core/model/layer_stream.h"
#include "methods/healing.h"
#include "methods/parts.h"

namespace mla {

// Where a streamed conversion gets what takes long; as ConversionSource of convert().
struct StreamSource {
  std::function<std::unique_ptr<StatsStream>(const Decoder& frame, const StatKinds& kinds, const std::string& state)> stats;
  std::string key;                              // decompositions are cached under it; empty: they are not
  const CalibrationSamples* samples = nullptr;  // of the healers
  std::filesystem::path scratch;                // folder of the scratch files, as large as the attention weights and decompositions together
};

struct StreamedConversion {
  LayerStream converted;  // attention and refitted MLPs from a scratch file, all else read where `original` reads it
  std::vector<LayerRanks> ranks;
  Healing healing;
};

// Memory: a layer, its statistics and its decomposition; two streams of all samples, [tokens, D] each, where statistics of the original and of the
// partial-RoPE model are measured side by side, or a recipe heals. Throws as convert() does, ResourceError for the scratch file, and
// ConfigError for statistics that need the whole model.
StreamedConversion convert_streamed(const LayerStream& original, const Recipe& recipe, const StreamSource& source);

// Why the recipe's conversion cannot stream; empty where it can.
std::string why_not_streamed(const Recipe& recipe);

}  // namespace mla
