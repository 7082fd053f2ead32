// RoRoPE with frequency folding, then balanced joint PCA (arXiv 2502.07864, sections 4.1 and 4.2).
#include "core/base/error.h"
#include "core/base/option_reader.h"
#include "methods/allocators/rank_options.h"
#include "methods/factorizers/balanced_pca.h"
#include "methods/registry.h"
#include "methods/splitters/rorope.h"

namespace mla {
namespace {

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "transmla");
  const std::optional<int64_t> fold = read.positive_or_auto("freqfold", std::nullopt);
  const int64_t rope_dim = read.positive("qk_mqa_dim", 64);
  const std::optional<int64_t> asked_collapse = read.positive_or_auto("collapse", std::nullopt);
  const int64_t rank = read.positive("kv_lora_rank", 512);
  const std::optional<int64_t> q_rank = read.optional_positive("q_lora_rank");
  const std::optional<double> balance = read.number_or_none("balance_kv_ratio", 1.0);
  const RankOptions ranks = read_rank_options(read);
  read.reject_unknown();

  if (!fold) fail<ConfigError>("transmla", "wanted --freqfold as a number (1, 2, 4, ...); its search is not offered yet");
  const int64_t collapse = asked_collapse.value_or(std::max<int64_t>(1, model.head_dim / rope_dim));
  if (rope_dim * collapse != model.head_dim)
    fail<ConfigError>("transmla", "wanted qk_mqa_dim * collapse = head_dim = ", model.head_dim, ", got ", rope_dim, " * ", collapse);
  const int64_t full = 2 * model.num_kv_heads * model.head_dim - rope_dim, q_full = model.num_heads * model.head_dim;
  if (rank > full) fail<ConfigError>("transmla", "wanted --kv-lora-rank of at most ", full, " (2 * KV width - qk_mqa_dim), got ", rank);
  if (q_rank && *q_rank > q_full) fail<ConfigError>("transmla", "wanted --q-lora-rank of at most ", q_full, ", got ", *q_rank);

  Recipe recipe;
  recipe.options = {{"freqfold", *fold}, {"collapse", collapse}, {"qk_mqa_dim", rope_dim}, {"kv_lora_rank", rank},
                    {"q_lora_rank", q_rank ? Json(*q_rank) : Json()}, {"balance_kv_ratio", balance ? Json(*balance) : Json("none")}};
  recipe.label = "transmla ff" + std::to_string(*fold) + " r" + std::to_string(rank) + (collapse > 1 ? " c" + std::to_string(collapse) : "") +
                 (balance ? "" : " unbalanced") + (q_rank ? " rq" + std::to_string(*q_rank) : "");
  recipe.splitter = make_rorope({.freqfold = *fold, .collapse = collapse}, model.head_dim);
  recipe.factorizer = make_balanced_pca({.balance = balance});
  apply_rank_options(ranks, rank, "--kv-lora-rank", recipe);
  recipe.q_lora_rank = q_rank;
  return recipe;
}

}  // namespace

const RecipeEntry transmla{"transmla", "RoRoPE and balanced joint PCA", "arXiv 2502.07864",
                           with_rank_options({{"freqfold", "required", "adjacent frequencies treated as equal; divides head_dim/2"},
                            {"collapse", "auto", "every n-th frequency kept; auto = head_dim / qk_mqa_dim"},
                            {"qk_mqa_dim", "64", "dims of the shared rope key"},
                            {"kv_lora_rank", "512", "rank of the latent"},
                            {"q_lora_rank", "none", "rank of the queries, by PCA"},
                            {"balance_kv_ratio", "1", "scale of keys against values before the PCA; none leaves them"}}),
                           {"RoRoPE", "balanced joint PCA on re-measured statistics", "ranks"},
                           {"mlaforge"},
                           make};

}  // namespace mla
