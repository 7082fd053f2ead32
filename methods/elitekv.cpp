// EliteKV (arXiv 2503.01586): greedy choice of rotary pairs (3.1), then one joint SVD of position-free keys and values (3.2).
#include "methods/factorizers/weighted_svd.h"
#include "methods/recipe_options.h"
#include "methods/registry.h"
#include "methods/splitters/greedy_pairs.h"

namespace mla {
namespace {

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "elitekv");
  const RankRequest request = read_rank(read, "elitekv", "kv_dim");
  const int64_t h = model.head_dim, heads = model.num_kv_heads;
  const int64_t rope_dim = read.optional_positive("rope_dim").value_or(default_rope_dim(std::min<int64_t>(24, h), heads, request.budget));
  const bool whiten = read.flag("whiten", false);
  read.reject_unknown();
  Recipe recipe;
  recipe.splitter = make_greedy_pairs(rope_dim, h);
  const ChosenRank chosen = choose_rank(request, {.beside = heads * rope_dim, .full = heads * (2 * h - rope_dim), .fallback = 2048});
  recipe.options = {{"rope_dim", rope_dim}, {"kv_dim", chosen.rank}, {"whiten", whiten}};
  recipe.label = "elitekv d" + std::to_string(rope_dim) + " r" + std::to_string(chosen.rank) + (whiten ? " whitened" : "");
  recipe.factorizer = make_weighted_svd({.metric = whiten ? SvdMetric::second_moment : SvdMetric::weights, .parts = SvdParts::joint});
  give_ranks(request, chosen, recipe);
  return recipe;
}

}  // namespace

const RecipeEntry elitekv{"elitekv", "rotary pairs chosen greedily by score error, joint SVD of the rest", "arXiv 2503.01586",
                          with_rank_options({{"rope_dim", "24", "rotated dims per KV head"},
                           {"kv_dim", "2048", "rank of the joint latent"},
                           {"whiten", "false", "SVD on the activations in place of the paper's SVD of the weights"},
                           {"cache_values", "none", kCacheValuesHelp}}),
                          {"RoPElite", "joint SVD of the weights", "ranks"},
                          {"mlaforge"},
                          make};

}  // namespace mla
