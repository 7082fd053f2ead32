// Options that several recipes read in the same way: a total of cached values, the rank that follows from it, the split before a
// joint latent.
#pragma once
#include "methods/allocators/rank_options.h"

namespace mla {

// --cache-values N: cached values per token and layer at most, in place of an explicit rank.
struct RankRequest {
  std::string owner, option;      // "svd", "rank", for errors
  std::optional<int64_t> rank;    // as given
  std::optional<int64_t> budget;  // as given
  RankOptions ranks;              // how it is divided over layers
};
// Reads the options of methods/allocators/rank_options.h as well. Throws ConfigError when rank and budget are both given.
RankRequest read_rank(OptionReader& read, const std::string& owner, const std::string& option);

// Where a rank may lie and what it costs.
struct RankLimits {
  int64_t parts = 1;     // latents of that rank in the cache
  int64_t beside = 0;    // cached values that are no latent (rope keys)
  int64_t full = 0;      // of one part
  int64_t fallback = 0;  // the source's default
  std::string beside_name = "rope keys";
};
struct ChosenRank {
  int64_t rank = 0;    // mean over layers of each latent
  std::string option;  // where it came from, for errors
  bool cut = false;    // from a budget: a part that admits less gets what it admits
};
// Throws ConfigError naming the limit when the rank is too large or the budget too small.
ChosenRank choose_rank(const RankRequest& request, const RankLimits& limits);
// Sets recipe.allocator and adds to its options and label what is asked beside the uniform rank. Call it when they are set.
void give_ranks(const RankRequest& request, const ChosenRank& chosen, Recipe& recipe);

// How keys are split before a joint latent of position-free keys and values.
struct SplitChoice {
  std::unique_ptr<Splitter> splitter;
  Json options;          // to be merged into the recipe's
  std::string label;     // "ff2", "high d16"
  int64_t rope_values = 0;  // cached per token
  int64_t free_keys = 0;    // position-free key rows
  int64_t rope_dim = 0;
};
// Reads freqfold, qk_mqa_dim. RoRoPE: one rope key for all heads.
SplitChoice read_rorope(OptionReader& read, const std::string& owner, const ModelConfig& model, const std::optional<int64_t>& budget);
// Reads split and what it needs: rorope, or 2-norm, high, low by rotary pairs with rope keys per KV head (rope_dim).
SplitChoice read_split(OptionReader& read, const std::string& owner, const ModelConfig& model, const std::optional<int64_t>& budget);

// The default, halved until its cost of `heads` * dims is at most half of the budget: the split of a budget between rope keys and latent.
int64_t default_rope_dim(int64_t fallback, int64_t heads, const std::optional<int64_t>& budget);

inline constexpr const char* kCacheValuesHelp = "cached values per token and layer at most, in place of an explicit rank";

}  // namespace mla
