// Means with their standard errors.
#pragma once
#include <cmath>
#include <numeric>
#include <vector>

namespace mla {

inline double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Standard error of the mean: sample standard deviation / sqrt(n). Zero for a single value, which has no spread.
inline double error_of_mean(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double mean = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const auto n = static_cast<double>(values.size());
  return std::sqrt(squares / (n - 1) / n);
}

}  // namespace mla
