// GTA (arXiv 2505.21487, section 3.2) as a target: values double as position-free keys, beside one rope key.
#include "core/base/error.h"
#include "methods/allocators/uniform.h"
#include "methods/factorizers/tied_latent.h"
#include "methods/recipe_options.h"
#include "methods/registry.h"
#include "methods/splitters/rorope.h"
#include "methods/splitters/tied_values.h"

namespace mla {
namespace {

// Largest d_R = h / c that the budget leaves beside g*h values.
int64_t budgeted_rope_dim(const ModelConfig& model, int64_t budget) {
  const int64_t state = model.num_kv_heads * model.head_dim;
  for (int64_t dims = model.head_dim; dims >= 2; dims /= 2)
    if (model.head_dim % dims == 0 && dims % 2 == 0 && state + dims <= budget) return dims;
  fail<ConfigError>("gta", "wanted --cache-values of at least ", state + 2, " (one tied state per KV head of ", state, " values and a rope key), got ", budget);
}

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "gta");
  const int64_t h = model.head_dim;
  const std::optional<int64_t> asked = read.optional_positive("qk_rope_head_dim"), budget = read.optional_positive("cache_values");
  if (asked && budget) fail<ConfigError>("gta", "wanted one of --qk-rope-head-dim and --cache-values, got both");
  const int64_t rope_dim = budget ? budgeted_rope_dim(model, *budget) : asked.value_or(h / 2);
  if (rope_dim > h || rope_dim % 2 != 0 || h % rope_dim != 0)
    fail<ConfigError>("gta", "wanted --qk-rope-head-dim even and a divisor of head_dim = ", h, ", got ", rope_dim);
  const int64_t collapse = h / rope_dim, fold = read.positive("freqfold", collapse);
  const int64_t nope_dim = read.positive("qk_nope_head_dim", rope_dim < h ? h - rope_dim : h / 2);
  const std::string align = read.choice("align", "regression", {"regression", "procrustes"});
  read.reject_unknown();
  if (nope_dim > h) fail<ConfigError>("gta", "wanted --qk-nope-head-dim of at most head_dim = ", h, ", got ", nope_dim);
  Recipe recipe;
  recipe.options = {{"qk_rope_head_dim", rope_dim}, {"qk_nope_head_dim", nope_dim}, {"freqfold", fold}, {"align", align}};
  recipe.label = "gta ff" + std::to_string(fold) + " d" + std::to_string(rope_dim) + " n" + std::to_string(nope_dim) + ' ' + align;
  recipe.splitter = make_tied_values(make_rorope({.freqfold = fold, .collapse = collapse}, h),
                                     {.nope_dim = nope_dim, .alignment = align == "regression" ? Alignment::regression : Alignment::procrustes});
  recipe.factorizer = make_tied_latent();
  recipe.allocator = make_uniform(1, "gta");  // nothing is cut: the latent is the tied state
  recipe.has_partial_rope_stage = false;
  return recipe;
}

}  // namespace

const RecipeEntry gta{"gta", "values tied to position-free keys, beside one rope key", "arXiv 2505.21487",
                      {{"qk_rope_head_dim", "half of head_dim", "dims of the shared rope key; divides head_dim"},
                       {"qk_nope_head_dim", "the rest of head_dim", "dims of each tied state that serve as key, at most head_dim"},
                       {"freqfold", "head_dim / qk_rope_head_dim", "adjacent frequencies treated as equal; divides head_dim/2"},
                       {"align", "regression", "how values are turned towards keys: regression, procrustes"},
                       {"cache_values", "none", "cached values per token and layer at most: the rope key takes what g * head_dim leaves"}},
                      {"RoRoPE", "values aligned with position-free keys", "no rank"},
                      {"mlaforge", "transformers", "vllm", "llama.cpp"},
                      make};

}  // namespace mla
