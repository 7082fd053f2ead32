#include "eval/scorers/averages.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <span>

#include "core/base/error.h"

namespace mla {
namespace {

// Python rounds the exact decimal value; so does printf.
double round_python(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", value);
  return std::strtod(text, nullptr);
}

// numpy scales, rounds half to even and scales back: 2.675 gives 2.68 here and 2.67 in Python.
double round_numpy(double value) { return std::nearbyint(value * 100) / 100; }

// numpy adds pairwise, eight sums at a time within 128 numbers; a plain loop differs in the last bit.
double numpy_sum(std::span<const double> x) {
  const std::size_t n = x.size();
  if (n > 128) {
    const std::size_t half = n / 2 - n / 2 % 8;
    return numpy_sum(x.first(half)) + numpy_sum(x.subspan(half));
  }
  double total = 0;
  std::size_t i = 0;
  if (n >= 8) {
    std::array<double, 8> part{};
    for (; i + 8 <= n; i += 8)
      for (std::size_t k = 0; k < 8; ++k) part[k] += x[i + k];
    total = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
  }
  for (; i < n; ++i) total += x[i];
  return total;
}

double bucket_mean(const std::vector<double>& scores) {
  if (scores.empty()) return std::numeric_limits<double>::quiet_NaN();
  return round_numpy(100 * (numpy_sum(scores) / static_cast<double>(scores.size())));
}

}  // namespace

double longbench_average(const std::vector<double>& scores) {
  if (scores.empty()) fail<ConfigError>("scorers", "wanted scores to average, got none");
  double total = 0;
  for (const double score : scores) total += score;
  return round_python(100 * total / static_cast<double>(scores.size()));
}

std::array<double, 3> longbench_e_averages(const std::vector<double>& scores, const std::vector<int64_t>& lengths) {
  if (scores.size() != lengths.size())
    fail<ConfigError>("scorers", "wanted a length for each of ", scores.size(), " scores, got ", lengths.size());
  std::array<std::vector<double>, 3> buckets;
  for (std::size_t i = 0; i < scores.size(); ++i) buckets[lengths[i] < 4000 ? 0 : lengths[i] < 8000 ? 1 : 2].push_back(scores[i]);
  return {bucket_mean(buckets[0]), bucket_mean(buckets[1]), bucket_mean(buckets[2])};
}

}  // namespace mla
