// The four parts of a recipe. All are pure: equal inputs give equal bits. Weights here are fp64 on the CPU.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/calibration/stats.h"

namespace mla {

// One layer after the split: scores = q_rope . k_rope (rotated) + q_nope_i . (k_up_g p), with p = k_free x.
struct SplitLayer {
  at::Tensor q_rope;  // [H*d_R, D], per head
  at::Tensor k_rope;  // [rope_heads*d_R, D]
  RopePlan rope;
  at::Tensor q_nope;  // [H*n, D], per head
  at::Tensor k_free;  // [P, D]    position-free key rows
  at::Tensor k_up;    // [G*n, P]  from p to each group's position-free key
  at::Tensor v;       // [G*v, D]
  at::Tensor o;       // [D, H*v]
  at::Tensor q_basis;  // optional [H*(n+d_R), H*h]: q rows as a linear map of the original query rows, for q_lora_rank
  at::Tensor q_source;  // optional [H*h, D]: the original query rows
  int64_t heads = 0, groups = 0, nope_dim = 0, v_dim = 0;
  double scale = 0;
  std::vector<double> energies;  // diagnostic: what the splitter ranked by
};

// One decomposition, truncatable at every rank: truncations share their first directions.
struct SpectrumPart {
  at::Tensor down;      // [R, D]
  at::Tensor up;        // [G*(n+v), R]
  at::Tensor energies;  // [R] descending, in the objective's own unit
  bool compressed = true;  // false: kept whole whatever the rank
};
struct Spectrum {
  std::vector<SpectrumPart> parts;  // latent = concatenation of each part's first r (or all) rows
  int64_t full_rank() const;        // largest rank a compressed part admits; 0 when nothing is compressed
};

class Splitter {
 public:
  virtual ~Splitter() = default;
  virtual SplitLayer split(const GqaWeights& layer, const LayerStats& stats) const = 0;
  virtual StatKinds needs() const = 0;
  // What names its result beside model and statistics: statistics of the split model are cached under it.
  virtual Json state() const = 0;
};

class Factorizer {
 public:
  virtual ~Factorizer() = default;
  // `stats` are those of the model that the recipe calibrates on (the partial-RoPE model where needs() says prefix).
  virtual Spectrum factorize(const SplitLayer& layer, const LayerStats& stats) const = 0;
  virtual StatKinds needs() const = 0;
};

class Allocator {
 public:
  virtual ~Allocator() = default;
  virtual std::vector<int64_t> allocate(const std::vector<Spectrum>& spectra) const = 0;  // one rank per layer
};

struct ConversionContext {
  const Decoder& original;
  Decoder& converted;  // layers before the current one are final
};
class Healer {
 public:
  virtual ~Healer() = default;
  virtual void heal(const ConversionContext& context, int64_t layer) const = 0;
};

struct Recipe {
  std::string label;  // "transmla ff2 r128", for tables
  Json options;       // canonical: every option with its resolved value
  std::unique_ptr<Splitter> splitter;
  std::unique_ptr<Factorizer> factorizer;
  std::unique_ptr<Allocator> allocator;
  std::unique_ptr<Healer> healer;          // may be null
  std::optional<int64_t> q_lora_rank;
  bool has_partial_rope_stage = true;
  StatKinds needs() const;
};

struct OptionHelp {
  const char* name;
  const char* fallback;
  const char* meaning;
};
struct RecipeEntry {
  const char* name;
  const char* summary;
  const char* source;
  std::vector<OptionHelp> options;
  Recipe (*make)(const Json& options, const ModelConfig& model);
};

// registry.cpp: one line per recipe.
const std::vector<const RecipeEntry*>& recipes();
const RecipeEntry& find_recipe(const std::string& name);  // ConfigError with the nearest known name

}  // namespace mla
