// Palu (arXiv 2407.21118, sections 3.2 and 3.3): keys and values each, groups of heads share a whitened SVD.
#include "core/base/error.h"
#include "methods/factorizers/weighted_svd.h"
#include "methods/recipe_options.h"
#include "methods/registry.h"
#include "methods/splitters/rebuilt_keys.h"

namespace mla {
namespace {

// The largest divisor of the KV heads that is at most 4, the paper's group.
int64_t default_group(int64_t heads) {
  for (int64_t size = 4; size > 1; --size)
    if (heads % size == 0) return size;
  return 1;
}

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "palu");
  const int64_t heads = model.num_kv_heads, group = read.positive("group_size", default_group(heads));
  const RankRequest request = read_rank(read, "palu", "group_rank");
  const bool whiten = read.flag("whiten", true), hadamard = read.flag("hadamard", false);
  read.reject_unknown();
  if (heads % group != 0) fail<ConfigError>("palu", "wanted --group-size to divide the ", heads, " KV heads, got ", group);
  const int64_t width = group * model.head_dim;
  const ChosenRank chosen = choose_rank(request, {.parts = 2 * heads / group, .full = width, .fallback = width / 2});
  Recipe recipe;
  recipe.options = {{"group_size", group}, {"group_rank", chosen.rank}, {"whiten", whiten}, {"hadamard", hadamard}};
  recipe.label = "palu g" + std::to_string(group) + " r" + std::to_string(chosen.rank) + (whiten ? "" : " plain") + (hadamard ? " hadamard" : "");
  recipe.splitter = make_rebuilt_keys();
  recipe.factorizer = make_weighted_svd({.metric = whiten ? SvdMetric::second_moment : SvdMetric::weights, .heads_per_part = group, .hadamard = hadamard});
  give_ranks(request, chosen, recipe);
  recipe.form = CacheForm::rebuilt;
  recipe.has_partial_rope_stage = false;
  return recipe;
}

}  // namespace

const RecipeEntry palu{"palu", "whitened SVD of groups of heads, keys and values each", "arXiv 2407.21118",
                       with_rank_options({{"group_size", "4, or the largest divisor below", "KV heads that share a decomposition; divides the KV heads"},
                        {"group_rank", "half of the group's dims", "rank of each group's keys and of its values"},
                        {"whiten", "true", "SVD on the activations; false: of the weights"},
                        {"hadamard", "false", "mix the latent by a Hadamard matrix, for quantisation; changes no output"},
                        {"cache_values", "none", kCacheValuesHelp}}),
                       {"groups of heads", "whitened SVD", "ranks"},
                       {"mlaforge"},
                       make};

}  // namespace mla
