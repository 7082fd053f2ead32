// Partial RoPE per KV head, then SVD of the weights (arXiv 2502.14837).
#include <map>

#include "core/base/error.h"
#include "core/base/option_reader.h"
#include "methods/allocators/rank_options.h"
#include "methods/factorizers/weight_svd.h"
#include "methods/registry.h"
#include "methods/splitters/pair_selection.h"
#include "methods/splitters/per_query_head.h"

namespace mla {
namespace {

struct Widths {  // cached values per token and layer
  int64_t rope = 0;   // rope keys of all heads
  int64_t whole = 0;  // of the part that the SVD mode leaves whole
  int64_t parts = 1;  // that it compresses, each to low_rank * groups
  int64_t full = 0;   // the largest rank that every compressed part admits
};

Widths widths_of(const std::string& mode, int64_t rope_dim, bool per_query_head, const ModelConfig& model) {
  const int64_t key_heads = per_query_head ? model.num_heads : model.num_kv_heads;
  const int64_t keys = key_heads * (model.head_dim - rope_dim), values = model.num_kv_heads * model.head_dim;
  const auto rank_of = [&](int64_t rows) { return std::min(rows, model.hidden_size); };
  Widths w{.rope = key_heads * rope_dim};
  if (mode == "joint") w.full = rank_of(keys + values);
  if (mode == "split") w.full = rank_of(std::min(keys, values)), w.parts = 2;
  if (mode == "only_key") w.full = rank_of(keys), w.whole = values;
  if (mode == "only_value") w.full = rank_of(values), w.whole = keys;
  return w;
}

// low_rank, or the largest that cache_values has room for.
int64_t rank_per_head(std::optional<int64_t> rank, std::optional<int64_t> total, const std::string& mode, const Widths& w, int64_t groups) {
  if (mode == "none") {
    if (total) fail<ConfigError>("mha2mla", "wanted no --cache-values with svd none, which compresses nothing; choose another --svd");
    return rank.value_or(32);
  }
  if (rank && total) fail<ConfigError>("mha2mla", "wanted either --low-rank or --cache-values, got both");
  if (total) {
    const int64_t fits = (*total - w.rope - w.whole) / (w.parts * groups), least = w.rope + w.whole + w.parts * groups;
    if (*total < least)
      fail<ConfigError>("mha2mla", "wanted --cache-values of at least ", least, " (", w.rope, " of rope keys, ", w.whole, " left whole by svd ", mode,
                        " and a rank of 1 per KV head), got ", *total, "; raise it or lower --rope-dim");
    return std::min(fits, w.full / groups);
  }
  if (rank.value_or(32) * groups > w.full)
    fail<ConfigError>("mha2mla", "wanted --low-rank of at most ", w.full / groups, " per KV head with svd ", mode, ", got ", rank.value_or(32), "; lower it");
  return rank.value_or(32);
}

Recipe make(const Json& options, const ModelConfig& model) {
  static const std::map<std::string, PairRule> rules{{"2-norm", PairRule::two_norm}, {"high", PairRule::high}, {"low", PairRule::low}, {"uniform", PairRule::uniform}};
  static const std::map<std::string, SvdMode> modes{{"none", SvdMode::none}, {"joint", SvdMode::joint}, {"split", SvdMode::split}, {"only_key", SvdMode::only_key}, {"only_value", SvdMode::only_value}};
  OptionReader read(options, "mha2mla");
  const std::string rule = read.choice("rope_selection", "2-norm", {"2-norm", "high", "low", "uniform"});
  const int64_t rope_dim = read.positive("rope_dim", 16), start = read.non_negative("uniform_start", 0), groups = model.num_kv_heads;
  const std::string mode = read.choice("svd", "joint", {"none", "joint", "split", "only_key", "only_value"});
  const bool per_query_head = read.flag("gqa2mha2mla", false);
  const std::optional<int64_t> rank = read.optional_positive("low_rank"), total = read.optional_positive("cache_values");
  const RankOptions ranks = read_rank_options(read);
  read.reject_unknown();

  Recipe recipe;
  recipe.splitter = make_pair_selection({.rule = rules.at(rule), .rope_dim = rope_dim, .uniform_start = start}, model.head_dim);
  if (per_query_head) recipe.splitter = make_per_query_head(std::move(recipe.splitter));
  const int64_t low_rank = rank_per_head(rank, total, mode, widths_of(mode, rope_dim, per_query_head, model), groups);
  recipe.options = {{"rope_selection", rule}, {"rope_dim", rope_dim}, {"svd", mode}};
  if (rule == "uniform") recipe.options["uniform_start"] = start;
  if (mode != "none") recipe.options["low_rank"] = low_rank;
  if (per_query_head) recipe.options["gqa2mha2mla"] = true;
  recipe.label = "mha2mla " + rule + " d" + std::to_string(rope_dim) + (mode == "none" ? " svd none" : " " + mode + " r" + std::to_string(low_rank)) +
                 (per_query_head ? " per query head" : "");
  recipe.factorizer = make_weight_svd(modes.at(mode));
  apply_rank_options(ranks, low_rank * groups, "--low-rank times the KV heads", recipe, total.has_value());
  recipe.free_biases = true;  // the original keeps them behind the up-projections, out of the SVD
  return recipe;
}

}  // namespace

const RecipeEntry mha2mla{"mha2mla", "partial RoPE per KV head and SVD of the weights", "arXiv 2502.14837",
                          with_rank_options({{"rope_selection", "2-norm", "which rotary pairs stay rotated: 2-norm, high, low, uniform"},
                           {"rope_dim", "16", "rotated dims per KV head, even"},
                           {"uniform_start", "0", "first pair of the uniform rule"},
                           {"svd", "joint", "none, joint, split, only_key, only_value"},
                           {"low_rank", "32", "latent rank per KV head of each compressed part"},
                           {"cache_values", "none", "in place of a rank: cached values per token and layer, at most"},
                           {"gqa2mha2mla", "false", "keys are copied to every query head first: each has its own pairs and rope key"}}),
                          {"partial RoPE by rotary pairs", "SVD of the weights", "ranks"},
                          {"mlaforge"},
                          make};

}  // namespace mla
