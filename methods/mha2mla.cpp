// Partial RoPE per KV head, then SVD of the weights (arXiv 2502.14837).
#include <map>

#include "core/base/error.h"
#include "core/base/option_reader.h"
#include "methods/allocators/rank_options.h"
#include "methods/factorizers/weight_svd.h"
#include "methods/registry.h"
#include "methods/splitters/pair_selection.h"

namespace mla {
namespace {

Recipe make(const Json& options, const ModelConfig& model) {
  static const std::map<std::string, PairRule> rules{{"2-norm", PairRule::two_norm}, {"high", PairRule::high}, {"low", PairRule::low}, {"uniform", PairRule::uniform}};
  static const std::map<std::string, SvdMode> modes{{"none", SvdMode::none}, {"joint", SvdMode::joint}, {"split", SvdMode::split}, {"only_key", SvdMode::only_key}, {"only_value", SvdMode::only_value}};
  OptionReader read(options, "mha2mla");
  const std::string rule = read.choice("rope_selection", "2-norm", {"2-norm", "high", "low", "uniform"});
  const int64_t rope_dim = read.positive("rope_dim", 16), start = read.non_negative("uniform_start", 0);
  const std::string mode = read.choice("svd", "joint", {"none", "joint", "split", "only_key", "only_value"});
  const int64_t low_rank = read.positive("low_rank", 32);
  const RankOptions ranks = read_rank_options(read);
  read.reject_unknown();

  Recipe recipe;
  recipe.splitter = make_pair_selection({.rule = rules.at(rule), .rope_dim = rope_dim, .uniform_start = start}, model.head_dim);
  const int64_t groups = model.num_kv_heads, keys = groups * (model.head_dim - rope_dim), values = groups * model.head_dim;
  const int64_t joint = std::min(keys + values, model.hidden_size);
  const int64_t full = mode == "joint" ? joint : mode == "only_value" ? values : mode == "split" ? std::min(keys, values) : keys;
  if (mode != "none" && low_rank * groups > full)
    fail<ConfigError>("mha2mla", "wanted --low-rank of at most ", full / groups, " per KV head with svd ", mode, ", got ", low_rank);
  recipe.options = {{"rope_selection", rule}, {"rope_dim", rope_dim}, {"svd", mode}};
  if (rule == "uniform") recipe.options["uniform_start"] = start;
  if (mode != "none") recipe.options["low_rank"] = low_rank;
  recipe.label = "mha2mla " + rule + " d" + std::to_string(rope_dim) + (mode == "none" ? " svd none" : " " + mode + " r" + std::to_string(low_rank));
  recipe.factorizer = make_weight_svd(modes.at(mode));
  apply_rank_options(ranks, low_rank * groups, "--low-rank times the KV heads", recipe);
  return recipe;
}

}  // namespace

const RecipeEntry mha2mla{"mha2mla", "partial RoPE per KV head and SVD of the weights", "arXiv 2502.14837",
                          with_rank_options({{"rope_selection", "2-norm", "which rotary pairs stay rotated: 2-norm, high, low, uniform"},
                           {"rope_dim", "16", "rotated dims per KV head"},
                           {"uniform_start", "0", "first pair of the uniform rule"},
                           {"svd", "joint", "none, joint, split, only_key, only_value"},
                           {"low_rank", "32", "latent rank per KV head of each compressed part"}}),
                          {"partial RoPE by rotary pairs", "SVD of the weights", "ranks"},
                          {"mlaforge"},
                          make};

}  // namespace mla
