#include "methods/recipe_options.h"

#include <map>
#include <numeric>

#include "core/base/error.h"
#include "methods/splitters/pair_selection.h"
#include "methods/splitters/rorope.h"

namespace mla {
namespace {

std::string flag(std::string option) {
  for (char& c : option)
    if (c == '_') c = '-';
  return "--" + option;
}

}  // namespace

RankRequest read_rank(OptionReader& read, const std::string& owner, const std::string& option) {
  RankRequest request{owner, option, read.optional_positive(option), read.optional_positive("cache_values"), read_rank_options(read)};
  if (request.rank && request.budget)
    fail<ConfigError>(owner, "wanted one of ", flag(option), " and --cache-values, got both (", *request.rank, " and ", *request.budget, ")");
  return request;
}

ChosenRank choose_rank(const RankRequest& request, const RankLimits& limits) {
  if (request.budget) {
    const int64_t rank = (*request.budget - limits.beside) / limits.parts, least = limits.beside + limits.parts;
    if (*request.budget < least)
      fail<ConfigError>(request.owner, "wanted --cache-values of at least ", least, " (", limits.beside, " for ", limits.beside_name, ", 1 for each of ",
                        limits.parts, " latents), got ", *request.budget);
    return {std::min(rank, limits.full), "--cache-values", true};
  }
  const int64_t rank = request.rank.value_or(limits.fallback);
  if (rank > limits.full)
    fail<ConfigError>(request.owner, "wanted ", flag(request.option), " of at most ", limits.full, ", got ", rank, request.rank ? "" : " (its default)");
  return {rank, flag(request.option), false};
}

void give_ranks(const RankRequest& request, const ChosenRank& chosen, Recipe& recipe) {
  apply_rank_options(request.ranks, chosen.rank, chosen.option, recipe, chosen.cut);
}

int64_t default_rope_dim(int64_t fallback, int64_t heads, const std::optional<int64_t>& budget) {
  int64_t dims = fallback;
  while (budget && dims > 2 && dims % 4 == 0 && 2 * heads * dims > *budget) dims /= 2;
  return dims;
}

SplitChoice read_rorope(OptionReader& read, const std::string& owner, const ModelConfig& model, const std::optional<int64_t>& budget) {
  const int64_t h = model.head_dim;
  const int64_t rope_dim = read.optional_positive("qk_mqa_dim").value_or(default_rope_dim(std::gcd<int64_t>(64, h), 1, budget));
  if (rope_dim > h || h % rope_dim != 0 || rope_dim % 2 != 0)
    fail<ConfigError>(owner, "wanted --qk-mqa-dim even and a divisor of head_dim = ", h, ", got ", rope_dim);
  const int64_t collapse = h / rope_dim, twice = h / 2 % (2 * collapse) == 0 ? 2 * collapse : collapse;
  const int64_t fold = read.positive("freqfold", collapse > 1 ? collapse : twice);
  SplitChoice choice;
  choice.splitter = make_rorope({.freqfold = fold, .collapse = collapse}, h);
  choice.options = {{"freqfold", fold}, {"qk_mqa_dim", rope_dim}};
  choice.label = "ff" + std::to_string(fold) + (collapse > 1 ? " c" + std::to_string(collapse) : "");
  choice.rope_values = choice.rope_dim = rope_dim;
  choice.free_keys = model.num_kv_heads * h - rope_dim;
  return choice;
}

SplitChoice read_split(OptionReader& read, const std::string& owner, const ModelConfig& model, const std::optional<int64_t>& budget) {
  static const std::map<std::string, PairRule> rules{{"2-norm", PairRule::two_norm}, {"high", PairRule::high}, {"low", PairRule::low}};
  const std::string kind = read.choice("split", "rorope", {"rorope", "2-norm", "high", "low"});
  if (kind == "rorope") {
    SplitChoice choice = read_rorope(read, owner, model, budget);
    choice.options["split"] = kind;
    return choice;
  }
  SplitChoice choice;
  choice.rope_dim = read.optional_positive("rope_dim").value_or(default_rope_dim(std::min<int64_t>(16, model.head_dim), model.num_kv_heads, budget));
  choice.splitter = make_pair_selection({.rule = rules.at(kind), .rope_dim = choice.rope_dim}, model.head_dim);
  choice.options = {{"split", kind}, {"rope_dim", choice.rope_dim}};
  choice.label = kind + " d" + std::to_string(choice.rope_dim);
  choice.rope_values = model.num_kv_heads * choice.rope_dim;
  choice.free_keys = model.num_kv_heads * (model.head_dim - choice.rope_dim);
  return choice;
}

}  // namespace mla
