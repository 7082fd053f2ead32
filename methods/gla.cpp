// GLA-2 (arXiv 2505.21487, section 3.3) as a target: RoRoPE's one rope key, then a latent per half of the KV heads.
#include "core/base/error.h"
#include "methods/factorizers/weighted_svd.h"
#include "methods/recipe_options.h"
#include "methods/registry.h"

namespace mla {
namespace {

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "gla");
  const int64_t heads = model.num_kv_heads, half = (heads + 1) / 2;
  RankRequest request = read_rank(read, "gla", "kv_lora_rank");
  SplitChoice split = read_rorope(read, "gla", model, request.budget);
  const std::optional<double> balance = read.number_or_none("balance_kv_ratio", 1.0);
  read.reject_unknown();
  if (heads < 2) fail<ConfigError>("gla", "wanted a model with at least 2 KV heads, one for each half of the latent, got ", heads);
  if (request.rank && *request.rank % 2 != 0) fail<ConfigError>("gla", "wanted an even --kv-lora-rank, half of it for each half of the KV heads, got ", *request.rank);
  const int64_t full = 2 * half * model.head_dim;
  if (request.rank.value_or(512) > 2 * full && !request.budget)
    fail<ConfigError>("gla", "wanted --kv-lora-rank of at most ", 2 * full, ", got ", request.rank.value_or(512), request.rank ? "" : " (its default)");
  request.rank = request.rank.value_or(512) / 2;
  const ChosenRank chosen = choose_rank(request, {.parts = 2, .beside = split.rope_values, .full = full, .fallback = 256});
  Recipe recipe;
  recipe.options = split.options;
  recipe.options["kv_lora_rank"] = 2 * chosen.rank;
  recipe.options["balance_kv_ratio"] = balance ? Json(*balance) : Json("none");
  recipe.label = "gla " + split.label + " r2x" + std::to_string(chosen.rank) + (balance ? "" : " unbalanced");
  recipe.splitter = std::move(split.splitter);
  recipe.factorizer = make_weighted_svd({.parts = SvdParts::joint, .heads_per_part = half, .balance = balance});
  give_ranks(request, chosen, recipe);
  return recipe;
}

}  // namespace

const RecipeEntry gla{"gla", "TransMLA with a block-diagonal latent: one half per half of the KV heads", "arXiv 2505.21487",
                      with_rank_options({{"freqfold", "2", "adjacent frequencies treated as equal; divides head_dim/2"},
                       {"qk_mqa_dim", "64", "dims of the shared rope key"},
                       {"kv_lora_rank", "512", "rank of both halves of the latent together"},
                       {"balance_kv_ratio", "1", "scale of keys against values before the PCA; none leaves them"},
                       {"cache_values", "none", kCacheValuesHelp}}),
                      {"RoRoPE", "joint PCA per half of the KV heads", "ranks"},
                      {"mlaforge", "transformers", "vllm", "llama.cpp"},
                      make};

}  // namespace mla
