// Ours: joint PCA weighted by what the loss feels, then every layer fitted in turn so that the converted prefix reproduces the
// original's residual stream: a short distillation of the layer, and W_O in closed form.
#include "core/base/error.h"
#include "core/base/option_reader.h"
#include "methods/allocators/uniform.h"
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
  const int64_t rank = read.positive("kv_lora_rank", 128), steps = read.non_negative("steps", 24);
  const double ridge = read.number("ridge", 0.1), rate = read.number("rate", 0.01);
  const std::string metric = read.choice("metric", "gradient", {"gradient", "query_output"});
  read.reject_unknown();
  Recipe recipe;
  recipe.options = {{"freqfold", fold}, {"qk_mqa_dim", rope_dim}, {"kv_lora_rank", rank}, {"steps", steps}, {"ridge", ridge}, {"rate", rate}, {"metric", metric}};
  recipe.label = "stream_match r" + std::to_string(rank) + " d" + std::to_string(rope_dim) + " s" + std::to_string(steps);
  recipe.splitter = make_rorope({.freqfold = fold, .collapse = model.head_dim / rope_dim}, model.head_dim);
  recipe.factorizer = make_weighted_pca({.metric = metric == "gradient" ? PcaMetric::gradient : PcaMetric::query_output});
  recipe.allocator = make_uniform(rank, "--kv-lora-rank");
  if (steps > 0) recipe.healers.push_back(make_distillation({.steps = steps, .rate = rate}));
  if (ridge > 0) recipe.healers.push_back(make_output_refit({.ridge = ridge}));
  return recipe;
}

}  // namespace

const RecipeEntry stream_match{"stream_match", "gradient-weighted PCA, then every layer fitted to the original's residual stream", "this project",
                               {{"freqfold", "2", "adjacent frequencies treated as equal; divides head_dim/2"},
                                {"qk_mqa_dim", "head_dim", "dims of the shared rope key"},
                                {"kv_lora_rank", "128", "rank of the latent"},
                                {"steps", "24", "distillation steps per layer, one batch each"},
                                {"rate", "0.01", "first step's size as a share of each tensor's root mean square"},
                                {"ridge", "0.1", "of the refit of W_O, as a share of the mean diagonal"},
                                {"metric", "gradient", "weights of the PCA: gradient, query_output"}},
                               {"RoRoPE", "weighted joint PCA", "uniform ranks", "distillation per layer", "closed-form refit of W_O"},
                               {"mlaforge"},
                               make};

}  // namespace mla
