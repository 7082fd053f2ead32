#include "eval/divergence.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "eval/means.h"

namespace mla {
namespace {

struct Point {
  const char* suffix;
  double share;
};
constexpr Point kMedian{"median", 0.5};
const std::vector<Point> kDivergencePoints{{"max", 1}, {"p99.9", 0.999}, {"p99", 0.99}, {"p95", 0.95}, {"p90", 0.9}, kMedian,
                                           {"p10", 0.1}, {"p5", 0.05}, {"p1", 0.01}, {"p0.1", 0.001}, {"min", 0}};
const std::vector<Point> kProbabilityPoints{{"max", 1}, {"p99.9", 0.999}, {"p99", 0.99}, {"p95", 0.95}, {"p90", 0.9}, {"p75", 0.75}, kMedian,
                                            {"p25", 0.25}, {"p10", 0.1}, {"p5", 0.05}, {"p1", 0.01}, {"p0.1", 0.001}, {"min", 0}};

// Linear interpolation between order statistics; `sorted` ascending and not empty.
double quantile(const std::vector<double>& sorted, double share) {
  const double position = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

template <class F>
std::vector<double> each(std::size_t count, const F& f) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = f(i);
  return values;
}

// A single token has no spread to tell an error from.
std::optional<double> error_or_none(const std::vector<double>& values, double factor = 1) {
  return values.size() > 1 ? std::optional(factor * error_of_mean(values)) : std::nullopt;
}

// Covariance of two means: the sample covariance over n.
double covariance_of_means(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() < 2) return 0;
  const double mean_a = mean_of(a), mean_b = mean_of(b);
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - mean_a) * (b[i] - mean_b);
  const auto n = static_cast<double>(a.size());
  return sum / (n - 1) / n;
}

void add_perplexities(const TokenPairs& pairs, std::vector<Statistic>& out) {
  const std::vector<double> log_ratios = each(pairs.size(), [&](std::size_t i) { return pairs.nll[i] - pairs.reference_nll[i]; });
  const double ppl = std::exp(mean_of(pairs.nll)), base = std::exp(mean_of(pairs.reference_nll));
  const double error = error_of_mean(pairs.nll), base_error = error_of_mean(pairs.reference_nll), covariance = covariance_of_means(pairs.nll, pairs.reference_nll);
  const double log_ratio = mean_of(log_ratios), ratio = std::exp(log_ratio);
  out.push_back({"ppl_q", ppl, error_or_none(pairs.nll, ppl), "1", Better::lower});
  out.push_back({"ppl_base", base, error_or_none(pairs.reference_nll, base)});
  if (error > 0 && base_error > 0) out.push_back({"ln_ppl_correlation", covariance / (error * base_error), std::nullopt, "1", Better::higher});
  out.push_back({"ln_ppl_ratio", log_ratio, error_or_none(log_ratios), "nats", Better::lower});
  out.push_back({"ppl_quotient", ratio, error_or_none(log_ratios, ratio), "1", Better::lower});
  // of exp(x) - exp(y) to first order
  const std::vector<double> differences = each(pairs.size(), [&](std::size_t i) { return ppl * pairs.nll[i] - base * pairs.reference_nll[i]; });
  out.push_back({"ppl_difference", ppl - base, error_or_none(differences), "1", Better::lower});
}

void add_points(const std::string& prefix, const std::vector<Point>& points, std::vector<double> values, const char* unit, Better better, std::vector<Statistic>& out) {
  std::sort(values.begin(), values.end());
  for (const Point& point : points) out.push_back({prefix + point.suffix, quantile(values, point.share), std::nullopt, unit, better});
}

void add_probabilities(const TokenPairs& pairs, std::vector<Statistic>& out) {
  const std::vector<double> differences = each(pairs.size(), [&](std::size_t i) { return std::exp(-pairs.nll[i]) - std::exp(-pairs.reference_nll[i]); });
  const std::vector<double> squares = each(pairs.size(), [&](std::size_t i) { return differences[i] * differences[i]; });
  out.push_back({"dp_mean", mean_of(differences), error_or_none(differences)});
  add_points("dp_", kProbabilityPoints, differences, "1", Better::neither, out);
  const double rms = std::sqrt(mean_of(squares));
  out.push_back({"dp_rms", rms, error_or_none(squares, rms > 0 ? 0.5 / rms : 0), "1", Better::lower});
}

}  // namespace

std::vector<Statistic> token_statistics(const TokenPairs& pairs) {
  if (pairs.size() == 0) fail<ConfigError>("divergence", "wanted predicted tokens, got none");
  if (pairs.reference_nll.size() != pairs.size() || pairs.kld.size() != pairs.size() || pairs.same_top.size() != pairs.size())
    fail<ShapeError>("divergence", "wanted ", pairs.size(), " values of each kind, got ", pairs.reference_nll.size(), ", ", pairs.kld.size(), " and ", pairs.same_top.size());
  std::vector<Statistic> out;
  add_perplexities(pairs, out);
  out.push_back({"kld_mean", mean_of(pairs.kld), error_or_none(pairs.kld), "nats", Better::lower});
  add_points("kld_", kDivergencePoints, pairs.kld, "nats", Better::lower, out);
  add_probabilities(pairs, out);
  out.push_back({"same_top_share", mean_of(pairs.same_top), error_or_none(pairs.same_top), "1", Better::higher});
  return out;
}

const Statistic& find_statistic(const std::vector<Statistic>& statistics, const std::string& name) {
  for (const Statistic& statistic : statistics)
    if (statistic.name == name) return statistic;
  fail<ConfigError>("divergence", "no statistic '", name, "' of these tokens");
}

}  // namespace mla
