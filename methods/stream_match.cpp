// Ours: joint PCA weighted by what the loss feels, then every layer fitted in turn so that the converted prefix reproduces the
// original's residual stream: a short distillation of the layer, and W_O in closed form.
#include "core/base/error.h"
#include "core/base/option_reader.h"
#include "methods/allocators/rank_options.h"
#include "methods/factorizers/weighted_pca.h"
#include "methods/healers/distillation.h"
#include "methods/healers/output_refit.h"
#include "methods/registry.h"
#include "methods/splitters/rorope.h"

namespace mla {
namespace {

Recipe make(const Json& options, const ModelConfig& model) {
  OptionReader read(options, "stream_match");
  const int64_t fold = read.positive("freqfold", 2), rope_dim = read.positive("qk_mqa_dim", model.head_dim);
  const int64_t rank = read.positive("kv_lora_rank", 128), steps = read.non_negative("steps", 80);
  const double attended = read.number("attended", 4.0);
  const double ridge = read.number("ridge", 0.1), rate = read.number("rate", 0.01);
  const std::string metric = read.choice("metric", "query_output", {"gradient", "query_output"});
  const RankOptions ranks = read_rank_options(read);
  read.reject_unknown();
  Recipe recipe;
  recipe.options = {{"freqfold", fold}, {"qk_mqa_dim", rope_dim}, {"kv_lora_rank", rank}, {"steps", steps}, {"ridge", ridge}, {"rate", rate}, {"metric", metric}, {"attended", attended}};
  recipe.label = "stream_match r" + std::to_string(rank) + " d" + std::to_string(rope_dim) + " s" + std::to_string(steps);
  recipe.splitter = make_rorope({.freqfold = fold, .collapse = model.head_dim / rope_dim, .attended = attended}, model.head_dim);
  recipe.factorizer = make_weighted_pca({.metric = metric == "gradient" ? PcaMetric::gradient : PcaMetric::query_output, .attended = attended});
  recipe.per_head_up = true;
  apply_rank_options(ranks, rank, "--kv-lora-rank", recipe);
  if (steps > 0) recipe.healers.push_back(make_distillation({.steps = steps, .rate = rate}));
  if (ridge > 0) recipe.healers.push_back(make_output_refit({.ridge = ridge}));
  return recipe;
}

}  // namespace

const RecipeEntry stream_match{"stream_match", "gradient-weighted PCA, then every layer fitted to the original's residual stream", "this project",
                               with_rank_options({{"freqfold", "2", "adjacent frequencies treated as equal; divides head_dim/2"},
                                {"qk_mqa_dim", "head_dim", "dims of the shared rope key"},
                                {"kv_lora_rank", "128", "rank of the latent"},
                                {"steps", "80", "distillation steps per layer"},
                                {"rate", "0.01", "first step's size as a share of each tensor's root mean square"},
                                {"ridge", "0.1", "of the refit of W_O, as a share of the mean diagonal"},
                                {"attended", "4", "how much more tokens count that others attend to"},
                                {"metric", "query_output", "weights of the PCA: gradient, query_output"}}),
                               {"RoRoPE", "weighted joint PCA", "uniform ranks", "distillation per layer", "closed-form refit of W_O"},
                               {"mlaforge"},
                               make};

}  // namespace mla
