#include "experiments/bench/statistics.h"

#include <cmath>

#include "core/base/error.h"

namespace mla {
namespace {

constexpr double kPi = 3.14159265358979323846;

// P(T <= t) for t > 0: finite sums in theta = atan(t / sqrt(n)), Abramowitz and Stegun 26.7.3 and 26.7.4.
double t_distribution(double t, int n) {
  const double theta = std::atan(t / std::sqrt(n)), cosine = std::cos(theta), sine = std::sin(theta);
  double term = n % 2 == 1 ? cosine : 1, sum = n == 1 ? 0 : term;
  for (int k = n % 2 == 1 ? 3 : 2; k < n; k += 2) sum += term *= cosine * cosine * (k - 1) / k;
  const double inside = n % 2 == 1 ? 2 / kPi * (theta + sine * sum) : sine * sum;
  return 0.5 + 0.5 * inside;
}

}  // namespace

double deviation_of(const std::vector<double>& values) { return error_of_mean(values) * std::sqrt(static_cast<double>(values.size())); }

double t_quantile_975(int degrees) {
  double low = 0, high = 20;
  for (int step = 0; step < 60; ++step) {
    const double middle = 0.5 * (low + high);
    (t_distribution(middle, degrees) < 0.975 ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

RateRatio paired_ratio(const std::vector<double>& rates, const std::vector<double>& reference) {
  if (rates.empty() || rates.size() != reference.size())
    fail<ShapeError>("bench", "wanted as many rates as references and at least one, got ", rates.size(), " and ", reference.size());
  std::vector<double> logs;
  for (std::size_t i = 0; i < rates.size(); ++i) logs.push_back(std::log(rates[i] / reference[i]));
  const double mean = mean_of(logs);
  if (logs.size() < 2) return {std::exp(mean), 0, 0};
  const auto count = static_cast<int>(logs.size());
  const double half = t_quantile_975(count - 1) * deviation_of(logs) / std::sqrt(static_cast<double>(count));
  return {std::exp(mean), std::exp(mean - half), std::exp(mean + half)};
}

}  // namespace mla
