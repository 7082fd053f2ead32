#include "methods/allocators/rank_options.h"

#include <map>

#include "core/base/error.h"
#include "methods/allocators/fisher.h"
#include "methods/allocators/greedy.h"
#include "methods/allocators/uniform.h"

namespace mla {
namespace {

const std::map<std::string, RankRule> kGreedy{
    {"waterfill", RankRule::waterfill}, {"energy", RankRule::energy}, {"care", RankRule::care}, {"care_code", RankRule::care_code}};

// One rank for all layers, within the bounds.
int64_t uniform_rank(const RankOptions& options, const RankBounds& bounds, int64_t rank, const std::string& option) {
  const int64_t bounded = std::min(rank, bounds.max.value_or(rank)) / bounds.multiple * bounds.multiple;
  if (bounded < std::max<int64_t>(1, options.min.value_or(1)))
    fail<ConfigError>("methods", "wanted a rank between --min-rank ", options.min.value_or(1), " and ", option, " ", rank,
                      " that is a multiple of --rank-multiple ", bounds.multiple, ", got ", bounded);
  return bounded;
}

RankBounds bounds_of(const RankOptions& options, int64_t rank, bool cut) {
  RankBounds bounds{.multiple = options.multiple, .min = options.min.value_or(1), .max = options.max, .cut = cut};
  if (options.allocator == "care_code") {  // the program's own defaults
    bounds.min = options.min.value_or(std::max<int64_t>(1, rank / 2));
    bounds.max = options.max.value_or(2 * rank);
  }
  return bounds;
}

std::unique_ptr<Allocator> allocator_of(const RankOptions& options, int64_t rank, const std::string& option, bool cut) {
  const RankBounds bounds = bounds_of(options, rank, cut);
  if (options.allocator == "uniform") return make_uniform(uniform_rank(options, bounds, rank, option), option, cut);
  if (options.allocator == "fisher") return make_fisher(rank, option, bounds);
  return make_greedy({kGreedy.at(options.allocator), rank, option, bounds, options.energy_ratio});
}

}  // namespace

RankOptions read_rank_options(OptionReader& read, const std::string& usual) {
  RankOptions options;
  options.allocator = read.choice("allocator", usual, {"uniform", "energy", "care", "care_code", "fisher", "waterfill"});
  options.multiple = read.positive("rank_multiple", 1);
  options.min = read.optional_positive("min_rank");
  options.max = read.optional_positive("max_rank");
  options.pad = read.flag("pad_ranks", false);
  options.energy_ratio = read.number_or_none("energy_ratio", std::nullopt);
  if (options.energy_ratio && options.allocator != "energy")
    fail<ConfigError>("methods", "wanted --allocator energy beside --energy-ratio, got ", options.allocator);
  if (options.energy_ratio && (*options.energy_ratio <= 0 || *options.energy_ratio > 1))
    fail<ConfigError>("methods", "wanted --energy-ratio above 0 and at most 1, got ", *options.energy_ratio);
  if (options.min && options.max && *options.min > *options.max)
    fail<ConfigError>("methods", "wanted --min-rank of at most --max-rank ", *options.max, ", got ", *options.min);
  return options;
}

void apply_rank_options(const RankOptions& options, int64_t rank, const std::string& option, Recipe& recipe, bool cut) {
  recipe.allocator = allocator_of(options, rank, option, cut);
  const auto differs = [&](const char* name, const Json& value, const std::string& suffix) {
    recipe.options[name] = value;
    recipe.label += ' ' + suffix;
  };
  if (options.allocator != "uniform") differs("allocator", options.allocator, options.allocator);
  if (options.energy_ratio) differs("energy_ratio", *options.energy_ratio, Json(*options.energy_ratio).dump());
  if (options.multiple > 1) differs("rank_multiple", options.multiple, "x" + std::to_string(options.multiple));
  if (options.min) differs("min_rank", *options.min, "min" + std::to_string(*options.min));
  if (options.max) differs("max_rank", *options.max, "max" + std::to_string(*options.max));
  if (!options.pad) return;
  recipe.allocator = make_padded(std::move(recipe.allocator));
  differs("pad_ranks", true, "padded");
}

std::vector<OptionHelp> with_rank_options(std::vector<OptionHelp> own, const char* usual) {
  const std::vector<OptionHelp> shared{
      {"allocator", usual, "how the mean rank is divided over layers: uniform, energy, care, care_code, fisher, waterfill"},
      {"rank_multiple", "1", "ranks are multiples of it"},
      {"min_rank", "1", "smallest rank of a layer's part; care_code: half the mean"},
      {"max_rank", "none", "largest rank of a layer's part; care_code: twice the mean"},
      {"pad_ranks", "false", "every layer at the largest rank that one has; the cache grows"},
      {"energy_ratio", "none", "energy only: ranks end where this share of the energy is kept"}};
  own.insert(own.end(), shared.begin(), shared.end());
  return own;
}

}  // namespace mla
