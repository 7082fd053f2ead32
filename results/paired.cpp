#include "results/paired.h"

#include <algorithm>
#include <map>

#include "core/base/error.h"
#include "core/base/python_random.h"

namespace mla {
namespace {

using Positions = std::map<int64_t, const AnswerRow*>;

std::map<std::string, Positions> by_task(const std::vector<AnswerRow>& rows) {
  std::map<std::string, Positions> tasks;
  for (const AnswerRow& row : rows)
    if (!tasks[row.task].emplace(row.position, &row).second)
      fail<ConfigError>("compare", "wanted one answer per item of ", row.task, ", got two of item ", row.item, "; name a stage");
  return tasks;
}

// The 2.5th and 97.5th percentile of the means of resampled differences.
std::pair<double, double> interval(const std::vector<double>& differences, int64_t resamples) {
  PythonRandom random(20240);
  std::vector<double> means;
  for (int64_t r = 0; r < resamples; ++r) {
    double sum = 0;
    for (std::size_t i = 0; i < differences.size(); ++i) sum += differences[random.below(differences.size())];
    means.push_back(sum / static_cast<double>(differences.size()));
  }
  std::sort(means.begin(), means.end());
  const auto at = [&](double share) { return means[static_cast<std::size_t>(share * static_cast<double>(means.size() - 1) + 0.5)]; };
  return {at(0.025), at(0.975)};
}

PairedComparison compare_task(const std::string& task, const Positions& first, const Positions& second, int64_t resamples) {
  PairedComparison result{.task = task, .items = static_cast<int64_t>(first.size())};
  if (first.size() != second.size())
    fail<ConfigError>("compare", "wanted the same items of ", task, " in both runs, got ", first.size(), " and ", second.size());
  std::vector<double> differences;
  for (const auto& [position, row] : first) {
    const auto found = second.find(position);
    if (found == second.end()) fail<ConfigError>("compare", "wanted item ", row->item, " of ", task, " in both runs, the second lacks it");
    const AnswerRow& other = *found->second;
    if (other.prompt_sha256 != row->prompt_sha256)
      fail<ConfigError>("compare", "wanted the same prompt of item ", row->item, " of ", task, " in both runs, got different ones (other shots, another data file?)");
    result.first += row->score / static_cast<double>(first.size());
    result.second += other.score / static_cast<double>(first.size());
    differences.push_back(other.score - row->score);
    if (other.score != row->score) result.flipped.emplace_back(*row, other);
  }
  result.difference = result.second - result.first;
  std::tie(result.low, result.high) = interval(differences, resamples);
  return result;
}

}  // namespace

std::vector<PairedComparison> compare_answers(const std::vector<AnswerRow>& first, const std::vector<AnswerRow>& second, int64_t resamples) {
  const std::map<std::string, Positions> a = by_task(first), b = by_task(second);
  std::vector<PairedComparison> results;
  for (const auto& [task, positions] : a)
    if (const auto found = b.find(task); found != b.end()) results.push_back(compare_task(task, positions, found->second, resamples));
  if (results.empty()) fail<ConfigError>("compare", "wanted two runs with answers to the same task, got none in common");
  return results;
}

}  // namespace mla
