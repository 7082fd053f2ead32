// KQ-SVD (arXiv 2512.05916): keys by what the scores lose, values by what the outputs lose.
#include "core/base/error.h"
#include "methods/factorizers/score_svd.h"
#include "methods/recipe_options.h"
#include "methods/registry.h"
#include "methods/splitters/rebuilt_keys.h"

namespace mla {
namespace {

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "kq_svd");
  const int64_t heads = model.num_kv_heads, group = read.positive("group_size", 1);
  const RankRequest request = read_rank(read, "kq_svd", "group_rank");
  read.reject_unknown();
  if (heads % group != 0) fail<ConfigError>("kq_svd", "wanted --group-size to divide the ", heads, " KV heads, got ", group);
  const int64_t width = group * model.head_dim;
  const ChosenRank chosen = choose_rank(request, {.parts = 2 * heads / group, .full = width, .fallback = width / 2});
  Recipe recipe;
  recipe.options = {{"group_size", group}, {"group_rank", chosen.rank}};
  recipe.label = "kq_svd g" + std::to_string(group) + " r" + std::to_string(chosen.rank);
  recipe.splitter = make_rebuilt_keys();
  recipe.factorizer = make_score_svd({.heads_per_part = group});
  give_ranks(request, chosen, recipe);
  recipe.form = CacheForm::rebuilt;
  recipe.has_partial_rope_stage = false;
  return recipe;
}

}  // namespace

const RecipeEntry kq_svd{"kq_svd", "best rank-r scores K Q^T before rotation; whitened SVD of values", "arXiv 2512.05916",
                         with_rank_options({{"group_size", "1", "KV heads that share a decomposition; 1 as in the paper"},
                          {"group_rank", "half of the group's dims", "rank of each group's keys and of its values"},
                          {"cache_values", "none", kCacheValuesHelp}}),
                         {"SVD of the scores", "whitened SVD of values", "ranks"},
                         {"mlaforge"},
                         make};

}  // namespace mla
