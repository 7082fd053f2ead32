// RoRoPE with frequency folding, then balanced joint PCA (arXiv 2502.07864, sections 4.1 and 4.2).
#include <limits>
#include <map>

#include "core/base/error.h"
#include "core/base/option_reader.h"
#include "methods/allocators/rank_options.h"
#include "methods/factorizers/balanced_pca.h"
#include "methods/registry.h"
#include "methods/splitters/rorope.h"

namespace mla {
namespace {

// The original's rule: from F = collapse on, doubled while the perplexity of the partial-RoPE model falls.
Json with_doubled_fold(Json options, int64_t collapse, int64_t half, const ScoreOptions& score) {
  double best = std::numeric_limits<double>::infinity();
  for (int64_t fold = collapse; fold <= half && half % fold == 0; fold *= 2) {
    Json candidate = options;
    candidate["freqfold"] = fold;
    const double perplexity = score(candidate);
    if (!(perplexity < best)) break;
    best = perplexity;
    options["freqfold"] = fold;
  }
  return options;
}

// kv_lora_rank, or what cache_values leaves for it beside the rope key.
int64_t latent_rank(std::optional<int64_t> rank, std::optional<int64_t> total, int64_t rope_dim, int64_t full) {
  if (rank && total) fail<ConfigError>("transmla", "wanted either --kv-lora-rank or --cache-values, got both");
  if (total && *total <= rope_dim)
    fail<ConfigError>("transmla", "wanted --cache-values of at least ", rope_dim + 1, " (qk_mqa_dim and a latent of 1), got ", *total);
  if (total) return std::min(*total - rope_dim, full);
  if (rank.value_or(512) > full)
    fail<ConfigError>("transmla", "wanted --kv-lora-rank of at most ", full, " (2 * KV width - qk_mqa_dim), got ", rank.value_or(512), "; lower it");
  return rank.value_or(512);
}

Recipe make(const Json& options, const ModelConfig& model) {
  static const std::map<std::string, LatentNorm> norms{{"none", LatentNorm::none}, {"as_shipped", LatentNorm::as_shipped}, {"calibrated", LatentNorm::calibrated}};
  OptionReader read(options, "transmla");
  const std::optional<int64_t> fold = read.positive_or_auto("freqfold", std::nullopt);
  const int64_t rope_dim = read.positive("qk_mqa_dim", 64);
  const std::optional<int64_t> asked_collapse = read.positive_or_auto("collapse", std::nullopt);
  const std::optional<int64_t> asked_rank = read.optional_positive("kv_lora_rank"), total = read.optional_positive("cache_values");
  const std::optional<int64_t> q_rank = read.optional_positive("q_lora_rank");
  const std::optional<double> balance = read.number_or_none("balance_kv_ratio", 1.0);
  const std::string norm = read.choice("use_qkv_norm", "none", {"none", "as_shipped", "calibrated"});
  const bool recalibrate = read.flag("recalibrate", true), fold_scale = read.flag("fold_scale", false);
  const RankOptions ranks = read_rank_options(read);
  read.reject_unknown();

  const int64_t full = 2 * model.num_kv_heads * model.head_dim - rope_dim, q_full = model.num_heads * model.head_dim;
  const int64_t collapse = asked_collapse.value_or(std::max<int64_t>(1, model.head_dim / rope_dim));
  if (rope_dim * collapse != model.head_dim)
    fail<ConfigError>("transmla", "wanted qk_mqa_dim * collapse = head_dim = ", model.head_dim, ", got ", rope_dim, " * ", collapse);
  const int64_t rank = latent_rank(asked_rank, total, rope_dim, full);
  if (q_rank && *q_rank > q_full) fail<ConfigError>("transmla", "wanted --q-lora-rank of at most ", q_full, ", got ", *q_rank);

  Recipe recipe;
  recipe.options = {{"freqfold", fold ? Json(*fold) : Json("auto")}, {"collapse", collapse}, {"qk_mqa_dim", rope_dim}, {"kv_lora_rank", rank},
                    {"q_lora_rank", q_rank ? Json(*q_rank) : Json()}, {"balance_kv_ratio", balance ? Json(*balance) : Json("none")}};
  recipe.label = "transmla ff" + (fold ? std::to_string(*fold) : "auto") + " r" + std::to_string(rank) + (collapse > 1 ? " c" + std::to_string(collapse) : "") +
                 (balance ? "" : " unbalanced") + (q_rank ? " rq" + std::to_string(*q_rank) : "");
  // Only where they differ from the default: rows made before these options existed keep their identity.
  if (norm != "none") recipe.options["use_qkv_norm"] = norm, recipe.label += " norm " + norm;
  if (!recalibrate) recipe.options["recalibrate"] = false, recipe.label += " shared stats";
  if (fold_scale) recipe.options["fold_scale"] = true;
  recipe.splitter = make_rorope({.freqfold = fold.value_or(collapse), .collapse = collapse}, model.head_dim);
  recipe.factorizer = make_balanced_pca({.balance = balance, .recalibrate = recalibrate});
  apply_rank_options(ranks, rank, "--kv-lora-rank", recipe, total.has_value());
  recipe.q_lora_rank = q_rank;
  recipe.latent_norm = norms.at(norm);
  recipe.fold_scale = fold_scale;
  recipe.search_scores_partial_rope = true;
  if (!fold)
    recipe.search = [options, collapse, half = model.head_dim / 2](const ScoreOptions& score) { return with_doubled_fold(options, collapse, half, score); };
  return recipe;
}

}  // namespace

const RecipeEntry transmla{"transmla", "RoRoPE and balanced joint PCA", "arXiv 2502.07864",
                           with_rank_options({{"freqfold", "auto", "adjacent frequencies treated as equal; divides head_dim/2, multiple of collapse; auto searches"},
                            {"collapse", "auto", "every n-th frequency kept; auto = head_dim / qk_mqa_dim"},
                            {"qk_mqa_dim", "64", "dims of the shared rope key"},
                            {"kv_lora_rank", "512", "rank of the latent, at most 2 * KV width - qk_mqa_dim"},
                            {"cache_values", "none", "in place of a rank: cached values per token and layer, at most"},
                            {"q_lora_rank", "none", "rank of the queries, by PCA"},
                            {"balance_kv_ratio", "1", "scale of keys against values before the PCA; none leaves them"},
                            {"use_qkv_norm", "none", "RMS norm on the latents: none, as_shipped (destructive), calibrated"},
                            {"recalibrate", "true", "PCA on statistics of the partial-RoPE model; false shares the original's"},
                            {"fold_scale", "false", "q carries the score scale, so that the layer's is (head_dim + qk_mqa_dim)^-1/2"}}),
                           {"RoRoPE", "balanced joint PCA on re-measured statistics", "ranks"},
                           {"mlaforge", "transformers", "vllm", "llama.cpp"},
                           make};

}  // namespace mla
