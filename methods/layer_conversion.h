// One layer's way through a recipe: split, decomposition, latent. convert() takes the layers of a model in memory through it,
// convert_streamed() those of one that is read layer by layer, with equal bits.
#pragma once
#include <string>

#include "methods/linear_layer.h"
#include "methods/parts.h"

namespace mla {

struct Split {
  LinearLayer linear;
  SplitLayer layer;
};

// A layer of which all is made but the latent, which wants its ranks.
struct HalfConverted {
  LinearLayer linear;        // its flags; weights and statistics are gone
  AttentionWeights weights;  // around the latent
  Spectrum spectrum;         // on the CPU
};

struct SeenStats {
  const LayerStats& first;             // of the original
  const LayerStats* second = nullptr;  // of the partial-RoPE model, where the recipe calibrates on it again
};

class LayerConversion {
 public:
  // `like` is any layer of the original; weights are made in `dtype`, where a layer's are. Decompositions are cached under `spectra_key`, which names
  // model and samples; empty: they are not. Throws ConfigError for a recipe that is to be searched first.
  LayerConversion(const Recipe& recipe, const GqaWeights& like, at::ScalarType dtype, std::string spectra_key);

  const StatKinds& first_kinds() const { return first_; }    // of the original
  const StatKinds& second_kinds() const { return second_; }  // of the partial-RoPE model; none where the recipe does not calibrate on it
  std::string second_state() const;                          // names that model beside the original for the cache of statistics

  Split split(const GqaWeights& layer, const LayerStats& stats) const;
  // Everything of the split but its latent; and that with the whole latent, nothing compressed.
  AttentionWeights around_latent(const Split& split) const;
  AttentionWeights partial_rope(const Split& split, AttentionWeights around) const;
  HalfConverted decompose(const GqaWeights& layer, int64_t index, Split split, const SeenStats& seen, AttentionWeights around) const;
  // Throws NumericalError naming the layer where a weight is not finite.
  AttentionWeights finish(HalfConverted half, const LayerRanks& ranks, int64_t index) const;

 private:
  const Recipe& recipe_;
  at::ScalarType dtype_;
  std::string spectra_key_;
  StatKinds first_, second_;
};

// Throws ConfigError naming the layer for another form of attention.
const GqaWeights& gqa_of(const AttentionWeights& attention, int64_t layer);

// What names the partial-RoPE model beside the original and the samples: equal texts, equal bits.
std::string partial_rope_key(const Recipe& recipe);

// [latent; up] of a split layer cut at `ranks`, as attention weights in `dtype`; `linear` says what the split was made of.
AttentionWeights assemble(const LinearLayer& linear, const SplitLayer& split, const Spectrum& spectrum, const LayerRanks& ranks,
                          CacheForm form, at::ScalarType dtype);
Spectrum identity_spectrum(const SplitLayer& split);

}  // namespace mla
