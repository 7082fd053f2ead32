// The four parts of a recipe. All are pure: equal inputs give equal bits. Weights and statistics here are fp64 on the device of the layer
// that they come from, rope plans on the CPU.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/calibration/stats.h"

namespace mla {

// Parts see every attention layer as linear maps of one vector x of D' dims, whatever the model: biases are a last column
// against a constant 1, and for a model with q/k norm x is [norm(q); norm(k); v] (see methods/linear_layer.h). So D' below is
// D, D + 1 or H*h + 2*G*h, and stats.input holds the moments of that x.

// One layer after the split: scores = q_rope . k_rope (rotated) + q_nope_i . (k_up_g p), with p = k_free x.
// Where a recipe rebuilds keys and only then rotates them (CacheForm::rebuilt), all of q is in q_rope and all of k in k_free.
struct SplitLayer {
  at::Tensor q_rope;  // [H*d_R, D'], per head
  at::Tensor k_rope;  // [rope_heads*d_R, D']
  RopePlan rope;
  at::Tensor q_nope;  // [H*n, D'], per head
  at::Tensor k_free;  // [P, D']    position-free key rows
  at::Tensor k_up;    // [G*n, P]  from p to each group's position-free key
  at::Tensor v;       // [G*v, D'], or [G*v/value_share, D'] where that many groups in a row share a head of values
  at::Tensor v_up;    // optional [G*v, P]: where values are made of k_free itself (tied), v = v_up k_free
  at::Tensor o;       // [D, H*v]
  at::Tensor q_basis;  // optional [H, n+d_R, h]: each head's q rows as a linear map of its original rows, for q_lora_rank
  at::Tensor q_source;  // optional [H*h, D']: the original query rows
  // The position-free keys and the kept ones as maps of the original keys [k of all groups], for statistics taken there.
  at::Tensor free_map;  // optional [P, G*h]: k_free = free_map W_k
  at::Tensor rope_map;  // optional [rope_heads*d_R, G*h]
  int64_t heads = 0, groups = 0, nope_dim = 0, v_dim = 0;
  int64_t value_share = 1;
  double scale = 0;
  std::vector<double> energies;  // diagnostic: what the splitter ranked by
};

// One decomposition, truncatable at every rank: truncations share their first directions.
struct SpectrumPart {
  at::Tensor down;      // [R, D']
  at::Tensor up;        // [G*(n+v), R]
  at::Tensor energies;  // [R] descending, in the objective's own unit
  bool compressed = true;  // false: kept whole whatever the rank
  bool hadamard = false;   // the rows that are kept are mixed by an orthogonal Hadamard matrix of their number
};
struct Spectrum {
  std::vector<SpectrumPart> parts;  // latent = concatenation of each part's first r (or all) rows
  int64_t groups = 0, v_dim = 0;    // of the split, for allocators; convert() sets them
  int64_t full_rank() const;        // largest rank a compressed part admits; 0 when nothing is compressed
};
// One rank per part of the layer's spectrum; parts that are kept whole have their whole size.
using LayerRanks = std::vector<int64_t>;

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
  virtual Json state() const = 0;  // names its result beside the split layer and the statistics
};

class Allocator {
 public:
  virtual ~Allocator() = default;
  // One per layer. `stats` are those of the original, of the kinds that needs() names.
  virtual std::vector<LayerRanks> allocate(const std::vector<Spectrum>& spectra, const CalibrationStats& stats) const = 0;
  virtual StatKinds needs() const { return {}; }
};

enum class LayerPart { attention, mlp };
// One batch of the calibration samples on its way through both models, at the part of the layer that is healed.
struct HealingBatch {
  at::Tensor residual;  // [B,T,D]  of the converted model, before that part (for the MLP: behind the layer's healed attention)
  at::Tensor target;    // [B,T,D]  of the original, behind that part (for attention: the MLP not yet added)
  at::Tensor mask;      // [B,T] bool, false on padding
};
struct ConversionContext {
  const Decoder& original;
  Decoder& converted;  // layers before the current one are final; the healer writes this layer's weights, those of its part
  int64_t layer = 0;
  const std::vector<HealingBatch>& batches;
  const LayerStats& stats;  // of the original
};
// Repairs one part of one layer after the cut, first layer first, its attention before its MLP. In between the streams are taken through the part.
class Healer {
 public:
  virtual ~Healer() = default;
  virtual LayerPart part() const { return LayerPart::attention; }
  virtual void heal(const ConversionContext& context) const = 0;
  virtual StatKinds needs() const { return {}; }
};

enum class CacheForm { latent, rebuilt };  // MlaWeights | LowRankKvWeights
enum class LatentNorm { none, as_shipped, calibrated };  // see methods/latent_norms.h
enum class QueryBasis { activations, weights };  // q_lora_rank by PCA of the queries | SVD of W_Q

// What a search minimises: the perplexity that given options reach on windows which calibration did not use.
using ScoreOptions = std::function<double(const Json& options)>;

struct Recipe {
  std::string label;  // "transmla ff2 r128", for tables
  Json options;       // canonical: every option with its resolved value
  std::unique_ptr<Splitter> splitter;
  std::unique_ptr<Factorizer> factorizer;
  std::unique_ptr<Allocator> allocator;
  std::vector<std::unique_ptr<Healer>> healers;  // in order, each on every layer, those of attention first
  CacheForm form = CacheForm::latent;
  bool per_head_up = false;  // kv_b per query head instead of per KV head: healers then fit each head's own (the cache stays as it is)
  std::optional<int64_t> q_lora_rank;
  QueryBasis query_basis = QueryBasis::activations;
  bool has_partial_rope_stage = true;
  std::optional<int64_t> calibration_samples;  // how many to draw where the user names no number
  int64_t self_samples = 0;                    // how many the model is to write beside them where the user names no number
  LatentNorm latent_norm = LatentNorm::none;
  bool fold_scale = false;   // q is written so that the layer's scale is (n + d_R)^-1/2, as DeepSeek's classes have it
  bool free_biases = false;  // biases of position-free keys and of values stay out of the latent (CacheForm::latent)
  // Where an option says auto: tries, and returns the options with it resolved. Null where nothing is searched.
  std::function<Json(const ScoreOptions&)> search;
  bool search_scores_partial_rope = false;  // else the converted model
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
  std::vector<const char*> stages;   // "rorope", "balanced pca", "uniform": what it does, in order
  std::vector<const char*> exports;  // targets that can hold the result: mlaforge, transformers, vllm, llama.cpp
  Recipe (*make)(const Json& options, const ModelConfig& model);
  bool recommended = false;
};

// registry.cpp: one line per recipe.
const std::vector<const RecipeEntry*>& recipes();
const RecipeEntry& find_recipe(const std::string& name);  // ConfigError with the nearest known name

}  // namespace mla
