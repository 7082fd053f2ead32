#include "experiments/bench/bench_store.h"

#include "core/engine/decode_path.h"
#include "experiments/recording.h"

namespace mla {
namespace {

constexpr const char* kCorpus = "synthetic";

// Metrics of one run, all of one stage and protocol.
class Numbers {
 public:
  Numbers(std::string stage, std::string protocol) : stage_(std::move(stage)), protocol_(std::move(protocol)) {}
  void add(const char* name, double value, const char* unit, Better better, int64_t count = 1, std::optional<double> error = std::nullopt) {
    metrics_.push_back({name, stage_, protocol_, value, error, count, unit, better});
  }
  void add_rates(const std::vector<double>& rates) {
    if (rates.empty()) return;
    const auto count = static_cast<int64_t>(rates.size());
    const std::optional<double> error = count > 1 ? std::optional(error_of_mean(rates)) : std::nullopt;
    add("tokens_per_second", mean_of(rates), "tokens/s", Better::higher, count, error);
  }
  void add_ratio(const std::optional<RateRatio>& ratio, int64_t count) {
    if (!ratio) return;
    add("rate_ratio", ratio->ratio, "1", Better::higher, count);
    if (!ratio->has_interval()) return;
    add("rate_ratio_low", ratio->low, "1", Better::neither, count);
    add("rate_ratio_high", ratio->high, "1", Better::neither, count);
  }
  const std::vector<Metric>& metrics() const { return metrics_; }

 private:
  std::string stage_, protocol_;
  std::vector<Metric> metrics_;
};

std::string protocol_of(const BenchModel& model, const std::string& name, int64_t chunk) {
  return name + "/b" + std::to_string(chunk) + (model.cache.empty() ? "" : "/kv-" + model.cache);
}

RunRecord record_of(const BenchSide& side, const BenchModel& model, const std::string& protocol, int threads, const std::string& started, const std::vector<double>& seconds) {
  RunRecord record = side.record;
  record.corpus = kCorpus;
  record.protocol = protocol;
  record.config["command"] = "bench";
  record.config["cache"] = side.model.cache;
  if (model.decode != "libtorch") record.config["decode"] = model.decode;
  record.stage_versions = {{"bench", 1}};
  record.threads = threads;
  record.started_at = started;
  double sum = 0;
  for (const double each : seconds) sum += each;
  record.times = {{"bench", sum, 0}};
  return record;
}

// What generated, for a reader of the row; the way that its numbers depend on is in the configuration.
void add_decoding(RunRecord& record, const std::string& stage, const BenchModel& model) { record.library_versions["decode"] = {{stage, decode_record(model.decode, model.decode_reason)}}; }

int64_t write(Store& store, RunRecord& record, const std::string& stage, const std::vector<double>& rates, const Numbers& numbers) {
  const int64_t id = store.begin_run(record);
  std::vector<SampleRow> samples;
  for (std::size_t i = 0; i < rates.size(); ++i) samples.push_back({stage, "tokens_per_second", static_cast<int64_t>(i), rates[i]});
  record_metrics(store, id, record, [&] {
    if (!samples.empty()) store.sink(id)->add(samples);
    return numbers.metrics();
  });
  return id;
}

}  // namespace

int64_t store_row(Store& store, const BenchSide& side, const BenchRow& row, const BenchMachine& machine) {
  BenchCase at_no_depth = row.test;
  at_no_depth.depth = 0;
  const std::string protocol = protocol_of(row.model, "llama-bench/" + name_of(at_no_depth), row.test.chunk);
  RunRecord record = record_of(side, row.model, protocol, row.test.threads, row.test_time, row.seconds);
  record.config["test"] = {{"name", name_of(row.test)}, {"depth", row.test.depth}, {"sequences", row.test.sequences}, {"repetitions", row.seconds.size()}};
  if (row.test.generated > 0 && !row.seconds.empty()) add_decoding(record, side.stage, row.model);
  Numbers numbers(side.stage, protocol);
  numbers.add_rates(row.rates());
  numbers.add_ratio(row.ratio, static_cast<int64_t>(row.seconds.size()));
  numbers.add("context", static_cast<double>(row.test.depth + row.test.prompt + row.test.generated), "tokens", Better::neither);
  numbers.add("sequences", static_cast<double>(row.test.sequences), "1", Better::neither);
  numbers.add("largest_batch", static_cast<double>(row.largest_batch), "1", Better::higher);
  numbers.add("memory_bytes", static_cast<double>(row.memory), "B", Better::neither);
  numbers.add("cache_bytes", static_cast<double>(row.cache_bytes), "B", Better::lower);
  numbers.add("cache_bytes_per_token", row.cache_bytes_per_token(), "B", Better::lower);
  numbers.add("copy_bytes_per_second", machine.copy_bytes_per_second, "B/s", Better::neither);
  if (const std::optional<double> read = row.bytes_per_second()) numbers.add("generation_bytes_per_second", *read, "B/s", Better::higher);
  return write(store, record, side.stage, row.rates(), numbers);
}

int64_t store_row(Store& store, const BenchSide& side, const ProtocolRow& row, const BenchMachine& machine) {
  const ProtocolCell& cell = row.cell;
  const std::string protocol = protocol_of(row.model, "transmla/" + std::to_string(row.requests) + " requests", row.chunk);
  RunRecord record = record_of(side, row.model, protocol, side.record.threads, row.test_time, row.seconds);
  record.config["test"] = {{"context", cell.context}, {"memory", cell.memory}, {"requests", row.requests}, {"repetitions", row.seconds.size()}};
  if (!row.seconds.empty()) add_decoding(record, side.stage, row.model);
  Numbers numbers(side.stage, protocol);
  numbers.add_rates(row.rates());
  numbers.add_ratio(row.ratio, static_cast<int64_t>(row.seconds.size()));
  numbers.add("context", static_cast<double>(cell.context), "tokens", Better::neither);
  numbers.add("sequences", cell.batches.empty() ? 0 : static_cast<double>(cell.batches.front()), "1", Better::higher);
  numbers.add("largest_batch", static_cast<double>(cell.largest), "1", Better::higher);
  numbers.add("memory_bytes", static_cast<double>(cell.memory), "B", Better::neither);
  numbers.add("cache_bytes", static_cast<double>(row.cache_bytes), "B", Better::lower);
  numbers.add("cache_bytes_per_token", static_cast<double>(cell.cache_per_sequence) / static_cast<double>(cell.context), "B", Better::lower);
  numbers.add("copy_bytes_per_second", machine.copy_bytes_per_second, "B/s", Better::neither);
  return write(store, record, side.stage, row.rates(), numbers);
}

}  // namespace mla
