#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "core/cuda/token_scores.h"

namespace mla {
namespace {

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Standard error of the mean: sample standard deviation / sqrt(n). Zero for a single value, which has no spread.
double error_of_mean(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double mean = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const auto n = static_cast<double>(values.size());
  return std::sqrt(squares / (n - 1) / n);
}

// Linear interpolation between order statistics; `sorted` ascending and not empty.
double quantile(const std::vector<double>& sorted, double share) {
  const double position = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// What grows while the windows pass.
struct StageTotals {
  std::vector<double> window_nll, window_kld, token_kld, same_top;
  double seconds = 0, cpu_seconds = 0;
};

void require_number(double value, const std::string& stage, int64_t window) {
  if (!std::isfinite(value))
    fail<NumericalError>("perplexity", "wanted a finite log-likelihood, got ", value, " in stage ", stage, ", window ", window);
}

// Adds one batch's token scores, window by window.
void add_batch(const TokenScores& scores, const std::vector<StageModel>& stages, int64_t first_window, int64_t windows,
               std::vector<StageTotals>& totals, std::vector<SampleRow>& rows) {
  const int64_t predicted = scores.nll_nats.size(1) / windows;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const auto row = static_cast<int64_t>(s);
    const at::Tensor nll = scores.nll_nats[row].view({windows, predicted}).mean(1);
    const at::Tensor kld = scores.kld_nats[row].contiguous();
    const at::Tensor window_kld = kld.view({windows, predicted}).mean(1);
    for (int64_t w = 0; w < windows; ++w) {
      const double value = nll[w].item<double>();
      require_number(value, stages[s].stage, first_window + w);
      totals[s].window_nll.push_back(value);
      rows.push_back({stages[s].stage, "window_nll", first_window + w, value});
      if (s == 0) continue;
      totals[s].window_kld.push_back(window_kld[w].item<double>());
      rows.push_back({stages[s].stage, "window_kld", first_window + w, totals[s].window_kld.back()});
    }
    if (s == 0) continue;
    const double* data = kld.const_data_ptr<double>();
    totals[s].token_kld.insert(totals[s].token_kld.end(), data, data + kld.numel());
    const at::Tensor same = scores.same_top[row].to(at::kDouble).contiguous();
    totals[s].same_top.insert(totals[s].same_top.end(), same.const_data_ptr<double>(), same.const_data_ptr<double>() + same.numel());
  }
}

StageScore::Divergence divergence_of(StageTotals& stage, const StageTotals& reference) {
  StageScore::Divergence d;
  d.mean = mean_of(stage.token_kld);
  d.std_error = error_of_mean(stage.token_kld);
  d.same_top = mean_of(stage.same_top);
  d.same_top_std_error = error_of_mean(stage.same_top);
  std::sort(stage.token_kld.begin(), stage.token_kld.end());
  d.median = quantile(stage.token_kld, 0.5);
  d.p90 = quantile(stage.token_kld, 0.9);
  d.p99 = quantile(stage.token_kld, 0.99);
  d.maximum = stage.token_kld.back();
  std::vector<double> log_ratio;
  for (std::size_t w = 0; w < stage.window_nll.size(); ++w) log_ratio.push_back(stage.window_nll[w] - reference.window_nll[w]);
  d.ppl_ratio = std::exp(mean_of(log_ratio));
  d.ppl_ratio_std_error = d.ppl_ratio * error_of_mean(log_ratio);
  d.window_kld = stage.window_kld;
  return d;
}

std::string running_value(const std::vector<StageModel>& stages, const std::vector<StageTotals>& totals) {
  std::string text;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    char value[96];
    const double perplexity = std::exp(mean_of(totals[s].window_nll));
    std::snprintf(value, sizeof value, "%s%s %.3f +/- %.3f", s == 0 ? "" : ", ", stages[s].stage.c_str(), perplexity,
                  perplexity * error_of_mean(totals[s].window_nll));
    text += value;
  }
  return text;
}

}  // namespace

std::vector<StageScore> score_windows(const std::vector<StageModel>& stages, const Windows& windows,
                                      const PerplexityOptions& options) {
  if (stages.empty()) fail<ConfigError>("perplexity", "wanted at least one model to score, got none");
  const int64_t count = windows.ids.size(0), length = windows.ids.size(1);
  std::vector<StageTotals> totals(stages.size());
  Progress progress("Scoring", "windows", count);

  for (int64_t first = 0; first < count; first += options.batch_windows) {
    throw_if_interrupted();
    const int64_t batch = std::min(options.batch_windows, count - first);
    const at::Tensor ids = windows.ids.narrow(0, first, batch);
    std::vector<StageHidden> hidden;
    for (std::size_t s = 0; s < stages.size(); ++s) {
      const Stopwatch watch;
      const at::Tensor last = stages[s].model->last_hidden(ids).narrow(1, 0, length - 1);
      hidden.push_back({last.reshape({batch * (length - 1), last.size(2)}), stages[s].model->head()});
      totals[s].seconds += watch.seconds();
      totals[s].cpu_seconds += watch.cpu();
    }
    const Stopwatch watch;
    const TokenScores scores = token_scores(hidden, ids.narrow(1, 1, length - 1).reshape(-1));
    for (StageTotals& stage : totals) {  // one pass over the vocabulary serves all stages: each carries its share
      stage.seconds += watch.seconds() / static_cast<double>(stages.size());
      stage.cpu_seconds += watch.cpu() / static_cast<double>(stages.size());
    }
    std::vector<SampleRow> rows;
    add_batch(scores, stages, first, batch, totals, rows);
    if (options.sink != nullptr) options.sink->add(rows);
    progress.advance(first + batch, running_value(stages, totals));
  }

  std::vector<StageScore> results;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    StageScore score;
    score.stage = stages[s].stage;
    score.perplexity = std::exp(mean_of(totals[s].window_nll));
    score.std_error = score.perplexity * error_of_mean(totals[s].window_nll);
    score.windows = count;
    score.window_nll = totals[s].window_nll;
    score.seconds = totals[s].seconds;
    score.cpu_seconds = totals[s].cpu_seconds;
    if (s > 0) score.divergence = divergence_of(totals[s], totals[0]);
    results.push_back(std::move(score));
  }
  return results;
}

std::vector<Metric> to_metrics(const std::vector<StageScore>& scores, const std::string& protocol) {
  std::vector<Metric> metrics;
  for (const StageScore& score : scores) {
    const auto add = [&](const char* name, double value, std::optional<double> error, int64_t count, const char* unit, Better better) {
      metrics.push_back({name, score.stage, protocol, value, error, count, unit, better});
    };
    const std::optional<double> spread = score.windows > 1 ? std::optional(score.std_error) : std::nullopt;
    add("perplexity", score.perplexity, spread, score.windows, "1", Better::lower);
    if (!score.divergence) continue;
    const StageScore::Divergence& d = *score.divergence;
    add("kld_mean", d.mean, d.std_error, score.windows, "nats", Better::lower);
    add("kld_median", d.median, std::nullopt, score.windows, "nats", Better::lower);
    add("kld_p90", d.p90, std::nullopt, score.windows, "nats", Better::lower);
    add("kld_p99", d.p99, std::nullopt, score.windows, "nats", Better::lower);
    add("kld_max", d.maximum, std::nullopt, score.windows, "nats", Better::lower);
    add("same_top_share", d.same_top, d.same_top_std_error, score.windows, "1", Better::higher);
    add("ppl_ratio", d.ppl_ratio, score.windows > 1 ? std::optional(d.ppl_ratio_std_error) : std::nullopt, score.windows, "1", Better::lower);
  }
  return metrics;
}

}  // namespace mla
