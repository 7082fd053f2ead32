#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <utility>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "core/cuda/token_scores.h"
#include "eval/halving.h"
#include "eval/means.h"

namespace mla {
namespace {

// What grows while the windows pass.
struct StageTotals {
  std::vector<double> window_nll, window_kld;
  std::vector<double> token_nll, token_kld, same_top;  // of every prediction that counts
  std::vector<int64_t> window_tokens;
  int64_t tokens() const { return std::accumulate(window_tokens.begin(), window_tokens.end(), int64_t{0}); }
  double nll() const { return std::inner_product(window_nll.begin(), window_nll.end(), window_tokens.begin(), 0.0); }  // nats, of all tokens
  double mean_nll() const { return nll() / static_cast<double>(tokens()); }
  double seconds = 0, cpu_seconds = 0;
};

void require_number(double value, const std::string& stage, int64_t window) {
  if (!std::isfinite(value))
    fail<NumericalError>("perplexity", "wanted a finite log-likelihood, got ", value, " in stage ", stage, ", window ", window);
}

// Which predictions of a batch count, as rows of its hidden states one window after another; and how many of each window.
struct Predictions {
  at::Tensor rows, targets;     // [N] int64
  std::vector<int64_t> counts;  // by window
};

Predictions predictions_of(const Windows& windows, int64_t first, int64_t count) {
  Predictions p;
  std::vector<int64_t> rows, targets;
  int64_t start = 0;
  for (int64_t w = first; w < first + count; ++w) {
    const at::Tensor ids = windows.ids[w].contiguous(), scored = windows.scored.defined() ? windows.scored[w].contiguous() : at::Tensor();
    const int64_t length = windows.lengths.defined() ? windows.lengths[w].item<int64_t>() : ids.size(0);
    const std::size_t before = rows.size();
    for (int64_t t = 0; t + 1 < length; ++t) {
      if (scored.defined() && !scored.const_data_ptr<bool>()[t]) continue;
      rows.push_back(start + t);
      targets.push_back(ids.const_data_ptr<int64_t>()[t + 1]);
    }
    p.counts.push_back(static_cast<int64_t>(rows.size() - before));
    start += length;
  }
  p.rows = at::tensor(rows, at::kLong);
  p.targets = at::tensor(targets, at::kLong);
  return p;
}

// Last hidden states of a batch of windows, one window after another.  [sum of lengths, D]
at::Tensor hidden_of(LanguageModel& model, const Windows& windows, int64_t first, int64_t count) {
  if (!windows.lengths.defined()) return model.last_hidden(windows.ids.narrow(0, first, count)).flatten(0, 1);
  std::vector<at::Tensor> ids;
  std::vector<Segment> segments;
  for (int64_t w = first; w < first + count; ++w) {
    ids.push_back(windows.ids[w].narrow(0, 0, windows.lengths[w].item<int64_t>()));
    segments.push_back({at::arange(ids.back().numel(), at::TensorOptions(at::kLong)), {}, nullptr});
  }
  return model.packed_hidden(at::cat(ids), segments);
}

void append(std::vector<double>& values, const at::Tensor& more) {
  values.insert(values.end(), more.const_data_ptr<double>(), more.const_data_ptr<double>() + more.numel());
}

// Adds one batch's token scores, window by window.
void add_batch(const TokenScores& scores, const std::vector<StageModel>& stages, int64_t first_window, const std::vector<int64_t>& counts,
               std::vector<StageTotals>& totals, std::vector<SampleRow>& rows) {
  const at::Tensor same_top = scores.same_top.to(at::kDouble);
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const auto row = static_cast<int64_t>(s);
    const at::Tensor nll = scores.nll_nats[row].contiguous(), kld = scores.kld_nats[row].contiguous(), same = same_top[row].contiguous();
    int64_t start = 0;
    for (std::size_t w = 0; w < counts.size(); ++w) {
      const int64_t window = first_window + static_cast<int64_t>(w);
      if (counts[w] == 0) continue;
      const double value = nll.narrow(0, start, counts[w]).mean().item<double>();
      require_number(value, stages[s].stage, window);
      totals[s].window_nll.push_back(value);
      totals[s].window_tokens.push_back(counts[w]);
      rows.push_back({stages[s].stage, "window_nll", window, value});
      if (s > 0) {
        totals[s].window_kld.push_back(kld.narrow(0, start, counts[w]).mean().item<double>());
        rows.push_back({stages[s].stage, "window_kld", window, totals[s].window_kld.back()});
      }
      start += counts[w];
    }
    if (stages.size() > 1) append(totals[s].token_nll, nll);
    if (s == 0) continue;
    append(totals[s].token_kld, kld);
    append(totals[s].same_top, same);
  }
}

StageScore::Divergence divergence_of(StageTotals& stage, const StageTotals& reference) {
  StageScore::Divergence d;
  d.statistics = token_statistics({std::move(stage.token_nll), reference.token_nll, std::move(stage.token_kld), std::move(stage.same_top)});
  const Statistic& mean = find_statistic(d.statistics, "kld_mean");
  d.mean = mean.value;
  d.std_error = mean.std_error.value_or(0);
  d.same_top = find_statistic(d.statistics, "same_top_share").value;
  std::vector<double> log_ratio;
  for (std::size_t w = 0; w < stage.window_nll.size(); ++w) log_ratio.push_back(stage.window_nll[w] - reference.window_nll[w]);
  d.ppl_ratio = std::exp(stage.mean_nll() - reference.mean_nll());
  d.ppl_ratio_std_error = d.ppl_ratio * error_of_mean(log_ratio);
  d.window_kld = stage.window_kld;
  return d;
}

// Windows first .. first+batch-1 of all stages. Totals and sink change only when all of it has been computed.
void score_batch(const std::vector<StageModel>& stages, const Windows& windows, int64_t first, int64_t batch, std::vector<StageTotals>& totals, SampleSink* sink) {
  const Predictions predictions = predictions_of(windows, first, batch);
  std::vector<StageHidden> hidden;
  std::vector<std::pair<double, double>> spent;  // wall and CPU seconds
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const Stopwatch watch;
    const at::Tensor all = hidden_of(*stages[s].model, windows, first, batch);
    hidden.push_back({all.index_select(0, predictions.rows.to(all.device())), stages[s].model->head(), stages[s].model->logit_softcap()});
    spent.emplace_back(watch.seconds(), watch.cpu());
  }
  const Stopwatch watch;
  const TokenScores scores = token_scores(hidden, predictions.targets);
  for (std::size_t s = 0; s < stages.size(); ++s) {  // one pass over the vocabulary serves all stages: each carries its share
    totals[s].seconds += spent[s].first + watch.seconds() / static_cast<double>(stages.size());
    totals[s].cpu_seconds += spent[s].second + watch.cpu() / static_cast<double>(stages.size());
  }
  std::vector<SampleRow> rows;
  add_batch(scores, stages, first, predictions.counts, totals, rows);
  if (sink != nullptr) sink->add(rows);
}

std::string running_value(const std::vector<StageModel>& stages, const std::vector<StageTotals>& totals) {
  std::string text;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    char value[96];
    const double perplexity = std::exp(totals[s].mean_nll());
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
  const int64_t count = windows.ids.size(0);
  std::vector<StageTotals> totals(stages.size());
  Progress progress("Scoring", "windows", count);
  Halving halving("windows");

  for (int64_t first = 0; first < count; first += options.batch_windows) {
    throw_if_interrupted();
    const int64_t batch = std::min(options.batch_windows, count - first);
    halving.run(static_cast<std::size_t>(batch), [&](std::size_t from, std::size_t to) {
      score_batch(stages, windows, first + static_cast<int64_t>(from), static_cast<int64_t>(to - from), totals, options.sink);
    });
    progress.advance(first + batch, running_value(stages, totals));
  }

  std::vector<StageScore> results;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    StageScore score;
    score.stage = stages[s].stage;
    score.perplexity = std::exp(totals[s].mean_nll());
    score.tokens = totals[s].tokens();
    if (windows.words > 0 && windows.bytes > 0) {
      const auto words = static_cast<double>(windows.words), bytes = static_cast<double>(windows.bytes);
      score.word_perplexity = std::exp(totals[s].nll() / words);
      score.byte_perplexity = std::exp(totals[s].nll() / bytes);
      score.bits_per_byte = totals[s].nll() / (bytes * std::log(2.0));
    }
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
    for (const auto& [name, value, unit] : {std::tuple{"word_perplexity", score.word_perplexity, "1"}, {"byte_perplexity", score.byte_perplexity, "1"}, {"bits_per_byte", score.bits_per_byte, "bits"}})
      if (value) add(name, *value, std::nullopt, score.tokens, unit, Better::lower);
    if (score.cache_bytes_per_token) add("cache_bytes_per_token", *score.cache_bytes_per_token, std::nullopt, score.windows, "B", Better::lower);
    if (!score.divergence) continue;
    const StageScore::Divergence& d = *score.divergence;
    for (const Statistic& t : d.statistics) add(t.name.c_str(), t.value, t.std_error, score.tokens, t.unit, t.better);
    add("ppl_ratio", d.ppl_ratio, score.windows > 1 ? std::optional(d.ppl_ratio_std_error) : std::nullopt, score.windows, "1", Better::lower);
  }
  return metrics;
}

}  // namespace mla
