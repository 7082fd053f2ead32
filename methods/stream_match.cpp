// Ours: joint PCA weighted by what queries and W_O read and by how much a token is attended to; then, layer by layer, the attention is
// fitted so that the converted prefix reproduces the original's residual stream: a short distillation, then W_O in closed form.
#include <map>

#include "core/base/error.h"
#include "core/base/option_reader.h"
#include "methods/allocators/rank_options.h"
#include "methods/factorizers/weighted_pca.h"
#include "methods/healers/distillation.h"
#include "methods/healers/mlp_refit.h"
#include "methods/healers/output_refit.h"
#include "methods/registry.h"
#include "methods/splitters/rorope.h"

namespace mla {
namespace {

struct Preset {
  int64_t samples, self_samples, steps;
  double mlp_ridge;
};
// Of calibration samples from the text, of samples that the model writes itself (they keep what the text does not show: code, questions,
// other languages; none under fast, where writing a few would take longer than all the rest), of distillation steps per layer, and the
// ridge of the MLPs' refit (none where few tokens would be fitted too closely, or it would cost the budget). Measured seconds are in docs/methods.md.
const std::map<std::string, Preset> kPresets{{"fast", {48, 0, 0, 0}}, {"default", {64, 32, 50, 0}}, {"best", {208, 304, 200, 0.3}}};

struct Sizes {
  int64_t rope_dim, rank;
};

// A third of the cache at most for the rope key: head_dim, halved until it fits; the latent gets the rest.
Sizes split_cache(int64_t total, const ModelConfig& model) {
  int64_t rope_dim = model.head_dim;
  while (3 * rope_dim > total && rope_dim % 4 == 0) rope_dim /= 2;
  const int64_t full = 2 * model.num_kv_heads * model.head_dim - rope_dim;
  if (total <= rope_dim)
    fail<ConfigError>("stream_match", "wanted --cache-values of at least ", rope_dim + 1, " (", rope_dim, " rope dims and a latent), got ", total);
  return {rope_dim, std::min(total - rope_dim, full)};
}

Sizes read_sizes(OptionReader& read, const ModelConfig& model) {
  const std::optional<int64_t> rank = read.optional_positive("kv_lora_rank"), rope_dim = read.optional_positive("qk_mqa_dim");
  const std::optional<int64_t> total = read.optional_positive("cache_values");
  if (total && rank) fail<ConfigError>("stream_match", "wanted --cache-values or --kv-lora-rank, got both");
  Sizes sizes{rope_dim.value_or(model.head_dim), rank.value_or(128)};
  if (total && !rope_dim) sizes = split_cache(*total, model);
  if (total && rope_dim) sizes.rank = *total - *rope_dim;
  const int64_t full = 2 * model.num_kv_heads * model.head_dim - sizes.rope_dim;
  if (sizes.rope_dim % 2 != 0 || model.head_dim % sizes.rope_dim != 0)
    fail<ConfigError>("stream_match", "wanted --qk-mqa-dim even and a divisor of head_dim = ", model.head_dim, ", got ", sizes.rope_dim);
  if (sizes.rank < 1 || sizes.rank > full)
    fail<ConfigError>("stream_match", "wanted a latent rank in [1, ", full, "] (2 * KV width - qk_mqa_dim), got ", sizes.rank);
  return sizes;
}

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "stream_match");
  const std::string budget = read.choice("time_budget", "default", {"fast", "default", "best"});
  const Preset& preset = kPresets.at(budget);
  const Sizes sizes = read_sizes(read, model);
  const int64_t collapse = model.head_dim / sizes.rope_dim;
  const int64_t fold = read.positive("freqfold", std::min<int64_t>(2 * collapse, model.head_dim / 2));
  const int64_t steps = read.non_negative("steps", preset.steps), step_samples = read.positive("step_samples", 4);
  const double ridge = read.number("ridge", steps > 0 ? 0.05 : 0.2), rate = read.number("rate", 0.01), attended = read.number("attended", 4.0);
  const double mlp_ridge = read.number("mlp_ridge", preset.mlp_ridge);
  const std::string metric = read.choice("metric", "query_output", {"query_output", "gradient"});
  const bool deepseek = read.flag("deepseek_compatible", false);
  const RankOptions ranks = read_rank_options(read);
  read.reject_unknown();
  if (ridge < 0 || mlp_ridge < 0 || rate <= 0 || attended < 0)
    fail<ConfigError>("stream_match", "wanted ridge, mlp_ridge and attended of at least 0 and rate above 0, got ", ridge, ", ", mlp_ridge, ", ", attended, " and ", rate);
  if (deepseek && ranks.allocator != "uniform" && !ranks.pad)
    fail<ConfigError>("stream_match", "wanted one rank for all layers with --deepseek-compatible, got --allocator ", ranks.allocator,
                      "; add --pad-ranks true or take uniform");

  Recipe recipe;
  recipe.options = {{"freqfold", fold}, {"qk_mqa_dim", sizes.rope_dim}, {"kv_lora_rank", sizes.rank}, {"steps", steps}, {"step_samples", step_samples},
                    {"ridge", ridge}, {"rate", rate}, {"attended", attended}, {"metric", metric}};
  if (mlp_ridge > 0) recipe.options["mlp_ridge"] = mlp_ridge;
  if (steps == 0) for (const char* unused : {"step_samples", "rate"}) recipe.options.erase(unused);
  recipe.label = "stream_match d" + std::to_string(sizes.rope_dim) + " r" + std::to_string(sizes.rank) + (steps > 0 ? " steps " + std::to_string(steps) : " closed form") +
                 (mlp_ridge > 0 ? " mlp" : "") + (metric == "gradient" ? " gradient" : "");
  const auto pca_metric = metric == "gradient" ? PcaMetric::gradient : PcaMetric::query_output;
  recipe.splitter = make_rorope({.freqfold = fold, .collapse = collapse, .attended = attended}, model.head_dim);
  recipe.factorizer = make_weighted_pca({.metric = pca_metric, .attended = attended});
  apply_rank_options(ranks, sizes.rank, "--kv-lora-rank", recipe);
  recipe.per_head_up = true;
  recipe.calibration_samples = preset.samples;
  recipe.self_samples = preset.self_samples;
  if (steps > 0) recipe.healers.push_back(make_distillation({.steps = steps, .samples = step_samples, .rate = rate}));
  if (ridge > 0) recipe.healers.push_back(make_output_refit({.ridge = ridge}));
  if (mlp_ridge > 0) recipe.healers.push_back(make_mlp_refit({.ridge = mlp_ridge}));
  return recipe;
}

}  // namespace

const RecipeEntry stream_match{
    "stream_match", "weighted PCA, then every layer fitted to the original's residual stream", "this project, docs/methods.md",
    with_rank_options({{"time_budget", "default", "preset of samples, steps and mlp_ridge: fast (closed form), default, best"},
                       {"cache_values", "none", "in place of a rank: cached values per token and layer, at most; a third or less for the rope key"},
                       {"qk_mqa_dim", "head_dim", "dims of the shared rope key"},
                       {"kv_lora_rank", "128", "rank of the latent, at most 2 * KV width - qk_mqa_dim"},
                       {"freqfold", "2 * head_dim / qk_mqa_dim", "adjacent frequencies treated as equal; divides head_dim/2"},
                       {"steps", "by time_budget", "distillation steps per layer; 0: none"},
                       {"step_samples", "4", "calibration samples per step"},
                       {"rate", "0.01", "first step's size as a share of each tensor's root mean square; falls to 0"},
                       {"ridge", "0.05, without steps 0.2", "of the refit of W_O, as a share of the mean diagonal; 0: no refit"},
                       {"mlp_ridge", "by time_budget", "of a refit of each MLP's down projection behind it, as a share of the mean diagonal; 0: MLPs stay as they are"},
                       {"attended", "4", "how much more tokens count that others attend to"},
                       {"metric", "query_output", "weights of the PCA: query_output, gradient"},
                       {"deepseek_compatible", "false", "refuse what stock DeepSeek classes cannot hold: ranks that differ by layer"}}),
    {"RoRoPE on attention-weighted moments", "joint PCA weighted by queries and W_O", "ranks", "distillation per layer", "closed-form refit of W_O", "and of down_proj, where asked"},
    {"mlaforge", "transformers", "vllm", "llama.cpp"},
    make,
    true};

}  // namespace mla
