// mla-retrofit as its documentation has it; in the original program the inserted up-projections never run.
#include "core/base/error.h"
#include "methods/allocators/uniform.h"
#include "methods/factorizers/tied_latent.h"
#include "methods/factorizers/weighted_svd.h"
#include "methods/recipe_options.h"
#include "methods/registry.h"
#include "methods/splitters/latent_rope.h"
#include "methods/splitters/rebuilt_keys.h"

namespace mla {
namespace {

struct Latent {
  int64_t heads = 0, dims = 0;
};

// --cache-values N gives a width of N/2: heads of the model's own width where one fits, else one narrower head.
Latent read_latent(OptionReader& read, const ModelConfig& model) {
  const int64_t full = model.num_kv_heads * model.head_dim;
  const std::optional<int64_t> heads = read.optional_positive("num_kv_heads"), dims = read.optional_positive("head_dim"),
                               budget = read.optional_positive("cache_values");
  if (budget) {
    if (heads || dims) fail<ConfigError>("mla_retrofit", "wanted either --num-kv-heads and --head-dim or --cache-values, got both");
    if (*budget < 4) fail<ConfigError>("mla_retrofit", "wanted --cache-values of at least 4 (a pair of key dims and as many of values), got ", *budget);
    const int64_t width = std::min(*budget / 2, full), count = std::max<int64_t>(1, width / model.head_dim);
    return {count, width / count / 2 * 2};
  }
  const Latent latent{heads.value_or(model.num_kv_heads), dims.value_or(model.head_dim)};
  if (latent.heads * latent.dims > full)
    fail<ConfigError>("mla_retrofit", "wanted num_kv_heads * head_dim of at most ", full, " (the KV width), got ", latent.heads, " * ", latent.dims);
  return latent;
}

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "mla_retrofit");
  const Latent latent = read_latent(read, model);
  const std::string mode = read.choice("rope_mode", "repeat", {"repeat", "extend"});
  const bool whiten = read.flag("whiten", true), absorb = read.flag("absorb", false);
  read.reject_unknown();
  if (absorb && mode == "repeat")
    fail<ConfigError>("mla_retrofit", "wanted --absorb false with --rope-mode repeat: keys are rotated after W_UK has rebuilt them, so the rotation "
                                      "stands between W_UK and W_Q; use --rope-mode extend");
  const int64_t width = latent.heads * latent.dims;
  const SvdMetric metric = whiten ? SvdMetric::second_moment : SvdMetric::weights;
  Recipe recipe;
  recipe.options = {{"num_kv_heads", latent.heads}, {"head_dim", latent.dims}, {"rope_mode", mode}, {"whiten", whiten}, {"absorb", absorb}};
  recipe.label = "mla_retrofit " + mode + ' ' + std::to_string(latent.heads) + 'x' + std::to_string(latent.dims) + (whiten ? "" : " plain") +
                 (absorb ? " absorbed" : "");
  recipe.has_partial_rope_stage = false;
  if (mode == "repeat") {
    recipe.splitter = make_rebuilt_keys();
    recipe.form = CacheForm::rebuilt;
  } else {
    recipe.splitter = make_latent_rope({.heads = latent.heads, .dims = latent.dims, .metric = metric, .absorb = absorb}, model);
  }
  recipe.factorizer = absorb ? make_tied_latent() : make_weighted_svd({.metric = metric});
  recipe.allocator = make_uniform(width, "--num-kv-heads times --head-dim");
  return recipe;
}

}  // namespace

const RecipeEntry mla_retrofit{
    "mla_retrofit", "latent of n heads of m dims; follows mla-retrofit's documentation, not its program, whose up-projections never run",
    "mla-retrofit (README)",
    {{"num_kv_heads", "the model's", "heads n of the latent; n * m is its width for keys and for values, each"},
     {"head_dim", "the model's", "dims m of each head of the latent"},
     {"rope_mode", "repeat", "repeat: keys are rebuilt, then rotated; extend: RoPE on the latent itself, exact only with the model's own n and m"},
     {"whiten", "true", "SVD on the activations; false: of the weights"},
     {"absorb", "false", "extend only: W_UV goes into W_O (W_UK is in W_Q already)"},
     {"cache_values", "none", kCacheValuesHelp}},
    {"whitened SVD", "RoPE on rebuilt keys or on the latent", "one width"},
    {"mlaforge", "transformers"},
    make};

}  // namespace mla
