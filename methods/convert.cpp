#include "methods/convert.h"

#include <utility>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "methods/latent_norms.h"

namespace mla {
namespace {

const GqaWeights& gqa_of(const Decoder& decoder, std::size_t layer) { return gqa_of(decoder.layers[layer].attention, static_cast<int64_t>(layer)); }

LayerConversion steps_of(const Decoder& original, const Recipe& recipe, const ConversionSource& collect) {
  return {recipe, gqa_of(original, 0), original.dtype(), collect.key};
}

CalibrationStats first_stats(const Decoder& original, const LayerConversion& steps, const ConversionSource& collect) {
  const StatKinds& kinds = steps.first_kinds();
  return kinds.any() ? collect(original, kinds, "original") : CalibrationStats(original.layers.size());
}

Split split_of(const Decoder& original, const LayerConversion& steps, const CalibrationStats& stats, std::size_t layer) {
  throw_if_interrupted();
  return steps.split(gqa_of(original, layer), stats[layer]);
}

Decoder partial_rope_of(const Decoder& original, const LayerConversion& steps, const CalibrationStats& stats) {
  Decoder model = original;
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {  // splits are not kept: in fp64 they are larger than the model
    const Split split = split_of(original, steps, stats, layer);
    model.layers[layer].attention = steps.partial_rope(split, steps.around_latent(split));
  }
  return model;
}

std::vector<std::vector<at::Tensor>> energies_of(const std::vector<Spectrum>& spectra) {
  std::vector<std::vector<at::Tensor>> energies;
  for (const Spectrum& spectrum : spectra) {
    energies.emplace_back();
    for (const SpectrumPart& part : spectrum.parts) energies.back().push_back(part.compressed ? part.energies : at::Tensor());
  }
  return energies;
}

}  // namespace

Decoder partial_rope_model(const Decoder& original, const Recipe& recipe, const ConversionSource& collect) {
  if (!recipe.has_partial_rope_stage) fail<ConfigError>("convert", "wanted a recipe with a partial-RoPE stage, got ", recipe.label);
  const LayerConversion steps = steps_of(original, recipe, collect);
  return partial_rope_of(original, steps, first_stats(original, steps, collect));
}

Conversion convert(const Decoder& original, const Recipe& recipe, const ConversionSource& collect, const CalibrationSamples* samples) {
  const std::size_t layers = original.layers.size();
  const LayerConversion steps = steps_of(original, recipe, collect);
  if (!recipe.healers.empty() && samples == nullptr) fail<ConfigError>("convert", "wanted calibration samples for the healers of ", recipe.label);
  const CalibrationStats stats = first_stats(original, steps, collect);
  Conversion result;
  const bool recalibrates = steps.second_kinds().any();
  if (recipe.has_partial_rope_stage) result.partial_rope = recalibrates ? partial_rope_of(original, steps, stats) : original;
  const CalibrationStats second = recalibrates ? collect(*result.partial_rope, steps.second_kinds(), steps.second_state()) : CalibrationStats();

  std::vector<HalfConverted> halves;
  std::vector<Spectrum> spectra;  // of the halves, for the allocator
  Progress progress("Converting", "layers", static_cast<int64_t>(layers));
  for (std::size_t layer = 0; layer < layers; ++layer) {
    Split split = split_of(original, steps, stats, layer);
    // The partial-RoPE model and the converted one share all tensors but the latent's.
    AttentionWeights around = recalibrates ? result.partial_rope->layers[layer].attention : steps.around_latent(split);
    if (result.partial_rope && !recalibrates) result.partial_rope->layers[layer].attention = steps.partial_rope(split, around);
    const SeenStats seen{stats[layer], recalibrates ? &second[layer] : nullptr};
    halves.push_back(steps.decompose(gqa_of(original, layer), static_cast<int64_t>(layer), std::move(split), seen, std::move(around)));
    spectra.push_back(halves.back().spectrum);
    progress.advance(static_cast<int64_t>(layer) + 1);
  }
  result.ranks = recipe.allocator->allocate(spectra, stats);
  result.energies = energies_of(spectra);
  spectra.clear();
  result.converted = original;
  for (std::size_t layer = 0; layer < layers; ++layer)
    result.converted.layers[layer].attention = steps.finish(std::exchange(halves[layer], {}), result.ranks[layer], static_cast<int64_t>(layer));
  add_latent_norms(result.converted, recipe.latent_norm, collect, recipe.label + ' ' + recipe.options.dump());
  if (!recipe.healers.empty()) result.healing = heal(original, result.converted, recipe.healers, *samples, stats, collect.take_trace());
  return result;
}

}  // namespace mla
