// Ranks handed out one step at a time to the part that gains most by a rule. All rules spend the same budget: the recipe's
// uniform rank times the layers. A tie goes to the earlier layer, then to the earlier part.
#pragma once
#include "methods/allocators/rank_units.h"

namespace mla {

// e are a part's energies (squared singular values) in descending order, r its rank so far, l its layer of L.
enum class RankRule {
  // e_{r+1}: the least dropped energy over all layers and parts together, optimal since energies descend.
  waterfill,
  // sum_{m>r} e_m / sum e: the part that has kept the smallest share of its energy grows, so that all reach the same share; what
  // bisecting for that share gives (X-EcoMLA, arXiv 2503.11132, "dynamic rank").
  energy,
  // e_{r+1} / sum_{m>r} e_m, keys and values with budgets of their own (CARE, arXiv 2603.17946, adjusted rank).
  care,
  // The same as CARE's released program has it: times sqrt((L - l) / ((L + 1) / 2)), divided by sqrt(r / r_min), the sums ending
  // at max_rank.
  care_code,
};

struct GreedyOptions {
  RankRule rule = RankRule::waterfill;
  int64_t rank = 0;    // mean over layers of each compressed part
  std::string option;  // where it came from, for errors
  RankBounds bounds;
  std::optional<double> energy_ratio;  // of `energy`: nothing is added to a part that has kept this share
};
std::unique_ptr<Allocator> make_greedy(const GreedyOptions& options);

}  // namespace mla
