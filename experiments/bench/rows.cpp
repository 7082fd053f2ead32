#include "experiments/bench/rows.h"

#include "plots/format.h"

namespace mla {
namespace {

constexpr double kGiga = 1e9;
constexpr double kMib = 1024.0 * 1024.0, kGib = 1024.0 * kMib;

std::string size_text(double bytes) { return bytes >= kGib ? format("%.2f GiB", bytes / kGib) : format("%.2f MiB", bytes / kMib); }

std::string count_text(double count) { return count >= kGiga ? format("%.2f B", count / kGiga) : format("%.2f M", count / 1e6); }

std::string ratio_text(const std::optional<RateRatio>& ratio) {
  if (!ratio) return "";
  return format("%.3f", ratio->ratio) + (ratio->has_interval() ? format(" [%.3f, %.3f]", ratio->low, ratio->high) : "");
}

std::vector<double> rates_of(double tokens, const std::vector<double>& seconds) {
  std::vector<double> rates;
  for (const double each : seconds) rates.push_back(tokens / each);
  return rates;
}

Json nanoseconds(const std::vector<double>& seconds) {
  Json all = Json::array();
  for (const double each : seconds) all.push_back(static_cast<int64_t>(each * kGiga + 0.5));
  return all;
}

std::string name_of(const BenchModel& model) { return model.model + " " + model.label; }

using Fields = std::vector<std::pair<std::string, Json>>;

// llama-bench's names where it has the field.
Fields model_fields(const BenchModel& model, const BenchMachine& machine) {
  return {{"build_commit", machine.commit}, {"build_number", machine.version}, {"cpu_info", machine.cpu}, {"gpu_info", machine.gpu},
          {"backends", model.device == "cuda" ? "CUDA" : "CPU"}, {"model_filename", model.model}, {"model_type", model.architecture + " " + model.dtype},
          {"form", model.label}, {"model_size", model.weight_bytes}, {"model_n_params", model.parameters},
          {"type_kv", model.cache.empty() ? model.dtype : model.cache}, {"kv_values", model.kv_values}, {"decode", model.decode}};
}

void add_times(Fields& fields, const std::string& time, const std::vector<double>& seconds, const std::vector<double>& rates, const std::optional<RateRatio>& ratio) {
  const bool ran = !seconds.empty();
  fields.emplace_back("test_time", time);
  fields.emplace_back("avg_ns", ran ? Json(static_cast<int64_t>(mean_of(seconds) * kGiga + 0.5)) : Json());
  fields.emplace_back("stddev_ns", ran ? Json(static_cast<int64_t>(deviation_of(seconds) * kGiga + 0.5)) : Json());
  fields.emplace_back("avg_ts", ran ? Json(mean_of(rates)) : Json());
  fields.emplace_back("stddev_ts", ran ? Json(deviation_of(rates)) : Json());
  fields.emplace_back("ratio", ratio ? Json(ratio->ratio) : Json());
  fields.emplace_back("ratio_low", ratio && ratio->has_interval() ? Json(ratio->low) : Json());
  fields.emplace_back("ratio_high", ratio && ratio->has_interval() ? Json(ratio->high) : Json());
}

std::string rate_text(const std::vector<double>& rates) { return rates.empty() ? "" : format("%.2f ± %.2f", mean_of(rates), deviation_of(rates)); }

}  // namespace

std::vector<double> BenchRow::rates() const { return rates_of(static_cast<double>(tokens()), seconds); }

std::optional<double> BenchRow::bytes_per_second() const {
  if (!generation_bytes || seconds.empty()) return std::nullopt;
  return mean_of(rates_of(*generation_bytes, seconds));
}

std::vector<double> ProtocolRow::rates() const { return rates_of(static_cast<double>(requests * cell.output()), seconds); }

const std::vector<BenchColumn>& bench_columns() {
  static const std::vector<BenchColumn> columns{{"model                                       ", false}, {"size      "}, {"params  "}, {"backend", false}, {"decode  ", false}, {"threads"}, {"seqs"}, {"test           "},
                                                {"t/s               "}, {"ratio                 "}, {"cache B/token"}, {"cache MiB"}, {"fits"}, {"GB/s   "}, {"share  "}};
  return columns;
}

BenchRecord record_of(const BenchRow& row, const BenchMachine& machine) {
  const std::optional<double> read = row.bytes_per_second();
  std::optional<double> share;
  if (read && machine.copy_bytes_per_second > 0) share = *read / machine.copy_bytes_per_second;
  BenchRecord record;
  record.fields = model_fields(row.model, machine);
  for (const auto& [name, value] : Fields{{"n_batch", row.test.chunk}, {"n_threads", row.test.threads}, {"n_seqs", row.test.sequences}, {"n_prompt", row.test.prompt},
                                          {"n_gen", row.test.generated}, {"n_depth", row.test.depth}, {"test", name_of(row.test)}})
    record.fields.emplace_back(name, value);
  add_times(record.fields, row.test_time, row.seconds, row.rates(), row.ratio);
  for (const auto& [name, value] : Fields{{"cache_bytes_per_token", row.cache_bytes_per_token()}, {"cache_bytes", row.cache_bytes}, {"memory_bytes", row.memory},
                                          {"largest_batch", row.largest_batch}, {"generation_gb_s", read ? Json(*read / kGiga) : Json()},
                                          {"copy_gb_s", machine.copy_bytes_per_second / kGiga}, {"bandwidth_share", share ? Json(*share) : Json()},
                                          {"samples_ns", nanoseconds(row.seconds)}, {"samples_ts", row.rates()}})
    record.fields.emplace_back(name, value);
  record.cells = {name_of(row.model), size_text(static_cast<double>(row.model.weight_bytes)), count_text(static_cast<double>(row.model.parameters)),
                  row.model.device == "cuda" ? "CUDA" : "CPU", row.test.generated > 0 ? row.model.decode : "", std::to_string(row.test.threads), std::to_string(row.test.sequences), name_of(row.test), rate_text(row.rates()),
                  ratio_text(row.ratio), format("%.6g", row.cache_bytes_per_token()), format("%.2f", static_cast<double>(row.cache_bytes) / kMib), std::to_string(row.largest_batch),
                  read ? format("%.2f", *read / kGiga) : "", share ? format("%.1f %%", 100 * *share) : ""};
  return record;
}

const std::vector<BenchColumn>& protocol_columns() {
  static const std::vector<BenchColumn> columns{{"model                                       ", false}, {"memory GiB"}, {"context"}, {"fits"}, {"batches      "}, {"cache MiB/seq"}, {"cache MiB"},
                                                {"output t/s        "}, {"ratio                 "}};
  return columns;
}

BenchRecord record_of(const ProtocolRow& row, const BenchMachine& machine) {
  const ProtocolCell& cell = row.cell;
  const bool fits = !cell.batches.empty();
  const int64_t cache = row.cache_bytes > 0 ? row.cache_bytes : cell.cache_bytes;
  BenchRecord record;
  record.fields = model_fields(row.model, machine);
  for (const auto& [name, value] : Fields{{"memory_bytes", cell.memory}, {"context", cell.context}, {"requests", row.requests}, {"n_prompt", cell.prompt()},
                                          {"n_gen", cell.output()}, {"n_batch", row.chunk}, {"largest_batch", cell.largest}, {"batch", fits ? Json(cell.batches.front()) : Json(0)},
                                          {"n_batches", cell.batches.size()}, {"cache_bytes_per_sequence", cell.cache_per_sequence}, {"cache_bytes", cache}})
    record.fields.emplace_back(name, value);
  add_times(record.fields, row.test_time, row.seconds, row.rates(), row.ratio);
  record.fields.emplace_back("samples_ns", nanoseconds(row.seconds));
  record.fields.emplace_back("samples_ts", row.rates());
  const std::string batches = fits ? std::to_string(cell.batches.size()) + " x " + std::to_string(cell.batches.front()) : "out of memory";
  record.cells = {name_of(row.model), format("%.6g", static_cast<double>(cell.memory) / kGib), std::to_string(cell.context), std::to_string(cell.largest), batches,
                  format("%.2f", static_cast<double>(cell.cache_per_sequence) / kMib), format("%.2f", static_cast<double>(cache) / kMib), rate_text(row.rates()), ratio_text(row.ratio)};
  return record;
}

std::string closing_line(const BenchMachine& machine) {
  const std::string copy = machine.copy_bytes_per_second > 0 ? format("copy: %.2f GB/s read and written; ", machine.copy_bytes_per_second / kGiga) : "";
  return copy + "build: " + machine.commit + " (" + machine.version + ")";
}

}  // namespace mla
