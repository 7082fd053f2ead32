// The community converter that came before TransMLA: SVD of each weight to latent_dim, keys rebuilt and then rotated.
#include "methods/factorizers/weighted_svd.h"
#include "methods/recipe_options.h"
#include "methods/registry.h"
#include "methods/splitters/rebuilt_keys.h"

namespace mla {
namespace {

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "transmla_converter");
  const RankRequest request = read_rank(read, "transmla_converter", "latent_dim");
  read.reject_unknown();
  const int64_t width = model.num_kv_heads * model.head_dim;
  const ChosenRank chosen = choose_rank(request, {.parts = 2, .full = width, .fallback = width});
  Recipe recipe;
  recipe.options = {{"latent_dim", chosen.rank}};
  recipe.label = "transmla_converter w" + std::to_string(chosen.rank);
  recipe.splitter = make_rebuilt_keys();
  recipe.factorizer = make_weighted_svd({.metric = SvdMetric::weights});
  give_ranks(request, chosen, recipe);
  recipe.form = CacheForm::rebuilt;
  recipe.has_partial_rope_stage = false;
  return recipe;
}

}  // namespace

const RecipeEntry transmla_converter{"transmla_converter", "SVD of each weight, keys rebuilt and then rotated; see `mlaforge compare`",
                                     "transmla-converter (README)",
                                     with_rank_options({{"latent_dim", "the KV width", "rank of keys and of values, each"}, {"cache_values", "none", kCacheValuesHelp}}),
                                     {"SVD of the weights", "ranks"},
                                     {"mlaforge"},
                                     make};

}  // namespace mla
