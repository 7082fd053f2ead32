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

void append(std::vector<double>& values, const std::vector<double>& more) { values.insert(values.end(), more.begin(), more.end()); }

std::vector<std::vector<double>> rows_of(const at::Tensor& numbers) {
  const at::Tensor plain = numbers.to(at::kCPU, at::kDouble).contiguous();
  std::vector<std::vector<double>> rows;
  for (int64_t r = 0; r < plain.size(0); ++r) {
    const double* const begin = plain.const_data_ptr<double>() + r * plain.size(1);
    rows.emplace_back(begin, begin + plain.size(1));
  }
  return rows;
}

// What a piece of a batch gave: some windows, all stages.
struct PieceScores {
  int64_t first = 0;            // window
  std::vector<int64_t> counts;  // predictions of each
  std::vector<std::vector<double>> nll, kld, same_top;  // [stage][prediction]
  std::vector<double> seconds, cpu_seconds;             // [stage]
};

Json to_json(const std::vector<PieceScores>& pieces) {
  Json all = Json::array();
  for (const PieceScores& p : pieces) all.push_back(Json::array({p.first, p.counts, p.nll, p.kld, p.same_top, p.seconds, p.cpu_seconds}));
  return all;
}

std::vector<PieceScores> pieces_of(const Json& all) {
  std::vector<PieceScores> pieces;
  for (const Json& p : all) pieces.push_back({p.at(0), p.at(1), p.at(2), p.at(3), p.at(4), p.at(5), p.at(6)});
  return pieces;
}

double mean_of(const std::vector<double>& values, int64_t start, int64_t count) {
  return at::from_blob(const_cast<double*>(values.data()) + start, {count}, at::kDouble).mean().item<double>();
}

// Adds one piece's token scores, window by window.
void add_piece(const PieceScores& piece, const std::vector<StageModel>& stages, std::vector<StageTotals>& totals, std::vector<SampleRow>& rows) {
  for (std::size_t s = 0; s < stages.size(); ++s) {
    totals[s].seconds += piece.seconds[s];
    totals[s].cpu_seconds += piece.cpu_seconds[s];
    int64_t start = 0;
    for (std::size_t w = 0; w < piece.counts.size(); ++w) {
      const int64_t window = piece.first + static_cast<int64_t>(w), count = piece.counts[w];
      if (count == 0) continue;
      const double value = mean_of(piece.nll[s], start, count);
      require_number(value, stages[s].stage, window);
      totals[s].window_nll.push_back(value);
      totals[s].window_tokens.push_back(count);
      rows.push_back({stages[s].stage, "window_nll", window, value});
      if (s > 0) {
        totals[s].window_kld.push_back(mean_of(piece.kld[s], start, count));
        rows.push_back({stages[s].stage, "window_kld", window, totals[s].window_kld.back()});
      }
      start += count;
    }
    if (stages.size() > 1) append(totals[s].token_nll, piece.nll[s]);
    if (s == 0) continue;
    append(totals[s].token_kld, piece.kld[s]);
    append(totals[s].same_top, piece.same_top[s]);
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

// Windows first .. first+batch-1 of all stages.
PieceScores score_piece(const std::vector<StageModel>& stages, const Windows& windows, int64_t first, int64_t batch) {
  Predictions predictions = predictions_of(windows, first, batch);
  PieceScores piece;
  piece.first = first;
  std::vector<StageHidden> hidden;
  for (const StageModel& stage : stages) {
    const Stopwatch watch;
    const at::Tensor all = hidden_of(*stage.model, windows, first, batch);
    hidden.push_back({all.index_select(0, predictions.rows.to(all.device())), stage.model->head(), stage.model->logit_softcap()});
    piece.seconds.push_back(watch.seconds());
    piece.cpu_seconds.push_back(watch.cpu());
  }
  const Stopwatch watch;
  const TokenScores scores = token_scores(hidden, predictions.targets);
  for (std::size_t s = 0; s < stages.size(); ++s) {  // one pass over the vocabulary serves all stages: each carries its share
    piece.seconds[s] += watch.seconds() / static_cast<double>(stages.size());
    piece.cpu_seconds[s] += watch.cpu() / static_cast<double>(stages.size());
  }
  piece.counts = std::move(predictions.counts);
  piece.nll = rows_of(scores.nll_nats);
  piece.kld = rows_of(scores.kld_nats);
  piece.same_top = rows_of(scores.same_top);
  return piece;
}

// A batch in as many pieces as memory demands. Nothing is kept of a piece that failed.
std::vector<PieceScores> score_batch(const std::vector<StageModel>& stages, const Windows& windows, int64_t first, int64_t batch, Halving& halving) {
  std::vector<PieceScores> pieces;
  halving.run(static_cast<std::size_t>(batch), [&](std::size_t from, std::size_t to) {
    pieces.push_back(score_piece(stages, windows, first + static_cast<int64_t>(from), static_cast<int64_t>(to - from)));
  });
  return pieces;
}

// The same by whichever process it belongs to; empty where another one puts them together.
std::vector<PieceScores> shared_batch(const std::vector<StageModel>& stages, const Windows& windows, int64_t first, const PerplexityOptions& options, Halving& halving) {
  const int64_t batch = std::min(options.batch_windows, windows.ids.size(0) - first);
  if (options.division == nullptr) return score_batch(stages, windows, first, batch, halving);
  const std::optional<Json> shared = options.division->share(first / options.batch_windows, [&] { return to_json(score_batch(stages, windows, first, batch, halving)); });
  return shared ? pieces_of(*shared) : std::vector<PieceScores>();
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
    const std::vector<PieceScores> pieces = shared_batch(stages, windows, first, options, halving);
    std::vector<SampleRow> rows;
    for (const PieceScores& piece : pieces) add_piece(piece, stages, totals, rows);
    if (pieces.empty()) continue;
    if (options.sink != nullptr) options.sink->add(rows);
    progress.advance(std::min(first + options.batch_windows, count), running_value(stages, totals));
  }
  if (options.division != nullptr && !options.division->first()) return {};

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
