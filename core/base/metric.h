// One measured number with what is needed to believe it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mla {

enum class Better { lower, higher, neither };

struct Metric {
  std::string name;      // "perplexity", "kld_mean", ...
  std::string stage;     // "original", "partial_rope", "mla"
  std::string protocol;  // carries its size: "hf-chunk/512/first16"
  double value = 0;      // finite
  std::optional<double> std_error;
  int64_t count = 0;  // what was averaged over: windows, tokens, items
  std::string unit;   // "1", "nats", "s", "MB"
  Better better = Better::neither;
};

// One row of a metric's samples (a window, an item).
struct SampleRow {
  std::string stage;
  std::string metric;  // "window_nll", "window_kld"
  int64_t index = 0;
  double value = 0;
};

// Where evaluators hand their per-sample rows; results implements it, tests may too.
class SampleSink {
 public:
  virtual ~SampleSink() = default;
  virtual void add(const std::vector<SampleRow>& rows) = 0;
};

// One answered item of a task.
struct AnswerRow {
  std::string task;   // "arc_easy"
  std::string stage;  // "original", "mla"
  int64_t position = 0;  // in the task's data, from 0
  std::string item;   // the data's own id, else the position
  std::string prompt_sha256;
  std::string prediction;  // the choice's number, or the generated text
  std::string gold;
  double score = 0;   // of the task's first metric
  int64_t tokens = 0;  // that the model predicted
  std::string detail;  // JSON: log-likelihoods, further metrics
};

class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  virtual void add(const std::vector<AnswerRow>& rows) = 0;  // all of them or none
};

}  // namespace mla
