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

}  // namespace mla
