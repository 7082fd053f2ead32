// X-EcoMLA's initialisation (arXiv 2503.11132, section 3.1), which its authors distil afterwards.
#include "core/base/error.h"
#include "methods/allocators/energy_count.h"
#include "methods/factorizers/weighted_svd.h"
#include "methods/recipe_options.h"
#include "methods/registry.h"
#include "methods/splitters/mean_rope_key.h"

namespace mla {
namespace {

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "x_ecomla");
  const int64_t h = model.head_dim, full = 2 * model.num_kv_heads * h, q_full = model.num_heads * h;
  const RankRequest request = read_rank(read, "x_ecomla", "kv_lora_rank");
  const std::optional<double> energy = read.number_or_none("kv_energy_ratio", std::nullopt);
  const std::optional<int64_t> q_rank = read.optional_positive("q_lora_rank");
  const int64_t rope_dim = read.optional_positive("qk_rope_head_dim").value_or(default_rope_dim(std::min<int64_t>(32, h), 1, request.budget));
  const int64_t nope_dim = read.non_negative("qk_nope_head_dim", h - std::min(h, rope_dim));
  const std::string pairs = read.choice("rope_pairs", "interleaved", {"interleaved", "half"});
  read.reject_unknown();
  if (energy && (request.rank || request.budget)) fail<ConfigError>("x_ecomla", "wanted one of --kv-energy-ratio, --kv-lora-rank and --cache-values, got more");
  if (energy && request.ranks.allocator != "uniform") fail<ConfigError>("x_ecomla", "wanted --kv-energy-ratio without --allocator, got ", request.ranks.allocator);
  if (energy && *energy > 1) fail<ConfigError>("x_ecomla", "wanted --kv-energy-ratio in (0, 1], got ", *energy);
  if (q_rank && *q_rank > q_full) fail<ConfigError>("x_ecomla", "wanted --q-lora-rank of at most ", q_full, ", got ", *q_rank);
  Recipe recipe;
  recipe.splitter = make_mean_rope_key({.rope_dim = rope_dim, .nope_dim = nope_dim, .interleaved = pairs == "interleaved"}, model);
  recipe.factorizer = make_weighted_svd({.metric = SvdMetric::weights, .parts = SvdParts::joint});
  recipe.options = {{"qk_rope_head_dim", rope_dim}, {"qk_nope_head_dim", nope_dim}, {"rope_pairs", pairs}, {"q_lora_rank", q_rank ? Json(*q_rank) : Json()}};
  recipe.label = "x_ecomla d" + std::to_string(rope_dim);
  if (energy) {
    recipe.allocator = make_energy_count(*energy, 8);
    recipe.options["kv_energy_ratio"] = *energy;
    recipe.label += " e" + Json(*energy).dump();
  } else {
    const ChosenRank chosen = choose_rank(request, {.beside = rope_dim, .full = full, .fallback = 512});
    recipe.options["kv_lora_rank"] = chosen.rank;
    recipe.label += " r" + std::to_string(chosen.rank);
    give_ranks(request, chosen, recipe);
  }
  if (q_rank) recipe.label += " rq" + std::to_string(*q_rank);
  recipe.q_lora_rank = q_rank;
  recipe.query_basis = QueryBasis::weights;
  return recipe;
}

}  // namespace

const RecipeEntry x_ecomla{"x_ecomla", "joint SVD of the weights with the mean of the KV heads' last key rows as rope key; meant to be distilled",
                           "arXiv 2503.11132",
                           with_rank_options({{"kv_lora_rank", "512", "rank of the latent"},
                            {"kv_energy_ratio", "none", "rank per layer instead: directions within this share of the energy, a multiple of 8"},
                            {"q_lora_rank", "none", "rank of the queries, by SVD of their weights"},
                            {"qk_rope_head_dim", "32", "dims of the shared rope key"},
                            {"qk_nope_head_dim", "the rest of head_dim", "first dims of each head that stay, without RoPE"},
                            {"rope_pairs", "interleaved", "how the last dims are rotated: interleaved as released, half as the original's layout"},
                            {"cache_values", "none", kCacheValuesHelp}}),
                           {"mean rope key", "joint SVD of the weights", "ranks or energy ratio"},
                           {"mlaforge", "transformers", "vllm", "llama.cpp"},
                           make};

}  // namespace mla
