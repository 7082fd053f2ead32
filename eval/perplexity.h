// Perplexity and divergence over windows, all stages of a conversion in one pass so that nothing is stored or run twice.
#pragma once
#include <string>
#include <vector>

#include "core/base/division.h"
#include "core/base/metric.h"
#include "core/base/run_record.h"
#include "eval/divergence.h"
#include "eval/language_model.h"
#include "eval/windows.h"

namespace mla {

struct StageModel {
  std::string stage;  // "original", "partial_rope", "mla"
  LanguageModel* model = nullptr;
};

struct StageScore {
  std::string stage;
  double perplexity = 0;  // exp(NLL of all predictions that count / their number)
  double std_error = 0;   // perplexity * standard error of the mean of the windows' means
  int64_t windows = 0, tokens = 0;  // tokens: predictions that count
  std::vector<double> window_nll;  // nats, per window: mean over its predictions that count
  // lm-eval's normalisers, where the windows know words and bytes: exp(NLL / words), exp(NLL / bytes), NLL / (bytes ln 2)
  std::optional<double> word_perplexity, byte_perplexity, bits_per_byte;
  double seconds = 0, cpu_seconds = 0;
  std::optional<double> cache_bytes_per_token;  // of a stage whose model was read through a cache; score_windows leaves it to its caller
  struct Divergence {                // against the first stage; only for the others
    double mean = 0, std_error = 0;  // nats per token; std_error over tokens
    double same_top = 0;             // share of tokens with the same most likely token
    double ppl_ratio = 0, ppl_ratio_std_error = 0;  // perplexity / original's, error from paired windows
    std::vector<double> window_kld;
    std::vector<Statistic> statistics;  // llama-perplexity's whole block
  };
  std::optional<Divergence> divergence;
};

struct PerplexityOptions {
  int64_t batch_windows = 4;  // halved when memory runs out
  SampleSink* sink = nullptr;  // per-window rows, handed over batch by batch
  Division* division = nullptr;  // batches are divided over processes; only the first has scores to return and rows for the sink
};

// The first stage is the reference of the divergences. Throws NumericalError (stage and window named), Interrupted, and as Division::share.
std::vector<StageScore> score_windows(const std::vector<StageModel>& stages, const Windows& windows,
                                      const PerplexityOptions& options);
std::vector<Metric> to_metrics(const std::vector<StageScore>& scores, const std::string& protocol);

}  // namespace mla
