// What was measured of one model in one test, or in one cell of TransMLA's protocol, and how each is printed.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "experiments/bench/formats.h"
#include "experiments/bench/grammar.h"
#include "experiments/bench/plan.h"
#include "experiments/bench/statistics.h"

namespace mla {

// A model in a benchmark, as rows name it.
struct BenchModel {
  std::string model;   // "llama-2-7b", "SmolLM2-135M-Instruct.Q4_1"
  std::string label;   // "original", "transmla ff4 r64", "mla 512+64"
  std::string architecture, dtype, device, cache;  // cache: of the kv cache's format, empty for the model's own dtype
  std::string decode = "libtorch", decode_reason;  // what generates: engine, libtorch; why LibTorch where `auto` would have had the engine
  int64_t parameters = 0, weight_bytes = 0;
  double kv_values = 0;  // per token and layer
};

struct BenchMachine {
  std::string commit, version, cpu, gpu;
  double copy_bytes_per_second = 0;  // read and written, of a large copy on the device; 0: not measured
};

struct BenchRow {
  BenchModel model;
  BenchCase test;
  std::string test_time;        // UTC, of the first repetition
  std::vector<double> seconds;  // of each repetition
  int64_t cache_bytes = 0, cache_tokens = 0;  // of all sequences at the end, counted from the cache object
  int64_t memory = 0, largest_batch = 0;      // bytes that there are, and the sequences of this length that fit
  std::optional<double> generation_bytes;     // read by one repetition that only generates: weights once a step, and the cache
  std::optional<RateRatio> ratio;             // to the first model

  int64_t tokens() const { return (test.prompt + test.generated) * test.sequences; }
  std::vector<double> rates() const;           // tokens per second, of each repetition
  std::optional<double> bytes_per_second() const;  // that generation reads; its mean
  double cache_bytes_per_token() const { return cache_tokens > 0 ? static_cast<double>(cache_bytes) / static_cast<double>(cache_tokens) : 0; }
};

struct ProtocolRow {
  BenchModel model;
  ProtocolCell cell;
  int64_t requests = 0, chunk = 0;
  std::string test_time;
  std::vector<double> seconds;     // of all requests, each repetition; empty: out of memory, or planned only
  int64_t cache_bytes = 0;         // of the largest batch at its end, counted; 0: as planned
  std::optional<RateRatio> ratio;  // to the first model

  std::vector<double> rates() const;  // output tokens per second, of each repetition
};

const std::vector<BenchColumn>& bench_columns();
BenchRecord record_of(const BenchRow& row, const BenchMachine& machine);

const std::vector<BenchColumn>& protocol_columns();
BenchRecord record_of(const ProtocolRow& row, const BenchMachine& machine);

// The line below a table: copy bandwidth and build.
std::string closing_line(const BenchMachine& machine);

}  // namespace mla
