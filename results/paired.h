// Two runs over the same items, item by item.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/metric.h"

namespace mla {

struct PairedComparison {
  std::string task;
  int64_t items = 0;
  double first = 0, second = 0, difference = 0;  // mean scores, and second - first
  double low = 0, high = 0;                      // 95 % interval of the difference: percentiles of bootstrap means
  std::vector<std::pair<AnswerRow, AnswerRow>> flipped;  // items whose scores differ, by position
};

// Pairs rows by task and position; the difference's interval from `resamples` draws of the items with replacement, whose seed is
// fixed. Throws ConfigError when an item's prompt differs between the runs, naming it, when one run lacks items that the other has,
// and when there is nothing to compare.
std::vector<PairedComparison> compare_answers(const std::vector<AnswerRow>& first, const std::vector<AnswerRow>& second, int64_t resamples = 10000);

}  // namespace mla
