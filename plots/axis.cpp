#include "plots/axis.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace mla {
namespace {

constexpr double kLogarithmicAbove = 10;  // largest / smallest
constexpr double kManyDecades = 3;

Axis padded(double low, double high, double below, double above) {
  const double span = std::max({high - low, 0.2 * std::abs(high), 1e-6});
  return {low - below * span, high + above * span};
}

Axis padded_exponents(double low, double high, double below, double above) {
  const Axis exponent = padded(std::log10(low), std::log10(high), below, above);
  return {std::pow(10, exponent.low), std::pow(10, exponent.high), true};
}

}  // namespace

double Axis::share_of(double value) const {
  if (logarithmic) return std::log(value / low) / std::log(high / low);
  return (value - low) / (high - low);
}

double Axis::value_at(double share) const {
  if (logarithmic) return low * std::pow(high / low, share);
  return low + share * (high - low);
}

Axis x_axis(const std::vector<double>& values, bool logarithmic) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (logarithmic) return padded_exponents(*low, *high, 0.06, 0.12);
  return padded(*low, *high, 0.08, 0.12);  // labels stand to the right of their points
}

Axis y_axis(const std::vector<double>& values, bool may_be_logarithmic) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (!may_be_logarithmic || *low <= 0 || *high <= kLogarithmicAbove * *low) return padded(*low, *high, 0.08, 0.1);
  return padded_exponents(*low, *high, 0.08, 0.1);
}

std::string log_tics(const Axis& axis) {
  const bool few = std::log10(axis.high / axis.low) < kManyDecades;
  std::string tics;
  for (int decade = static_cast<int>(std::floor(std::log10(axis.low))); std::pow(10, decade) <= axis.high; ++decade)
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double tic = factor * std::pow(10, decade);
      if (tic < axis.low || tic > axis.high || (factor > 1 && !few)) continue;
      char text[32];
      std::snprintf(text, sizeof text, "%s%.15g", tics.empty() ? "" : ", ", tic);
      tics += text;
    }
  return tics;
}

}  // namespace mla
