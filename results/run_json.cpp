// Whole runs out of the store: as JSON for people, as RunRecord for programs.
#include "core/base/error.h"
#include "results/better.h"
#include "results/store.h"

namespace mla {
namespace {

RunStatus status_of(const std::string& name) {
  if (name == "done") return RunStatus::done;
  if (name == "running") return RunStatus::running;
  return name == "interrupted" ? RunStatus::interrupted : RunStatus::failed;
}

// A store of someone else's making may hold anything, nested without end too.
Json parsed(const Statement& row, int column) {
  if (row.is_null(column)) return {};
  try {
    return parse_json(row.text(column), "run database");
  } catch (const CheckpointError& error) {
    fail<StoreError>("store", "wanted JSON in column ", column, " of a run; is this store damaged? ", error.what());
  }
}

std::optional<int64_t> optional_integer(const Statement& row, int column) {
  return row.is_null(column) ? std::nullopt : std::optional(row.integer(column));
}

constexpr const char* kRunColumns =
    "SELECT identity, attempt, status, method, label, model, architecture, corpus, protocol, config, stage_versions, dtype, device, threads, "
    "seed, ad_hoc_limit, kv_values_original, kv_values, kv_values_by_layer, git_commit, git_dirty, argv, host, library_versions, started_at, "
    "finished_at, peak_rss_mb, peak_device_mb, error, warnings, id FROM run ";

std::vector<Metric> metrics_of(const Database& database, int64_t id) {
  Statement read(database, "SELECT name, stage, protocol, value, std_error, count, unit, better FROM metric WHERE run_id = ?1 ORDER BY stage, name, protocol");
  read.bind(1, id);
  std::vector<Metric> metrics;
  while (read.step())
    metrics.push_back({read.text(0), read.text(1), read.text(2), read.real(3), read.is_null(4) ? std::nullopt : std::optional(read.real(4)),
                       read.integer(5), read.text(6), better_named(read.text(7))});
  return metrics;
}

std::vector<StageTime> times_of(const Database& database, int64_t id) {
  Statement read(database, "SELECT stage, seconds, cpu_seconds FROM stage_time WHERE run_id = ?1 ORDER BY position");
  read.bind(1, id);
  std::vector<StageTime> times;
  while (read.step()) times.push_back({read.text(0), read.real(1), read.real(2)});
  return times;
}

void step_to_run(Statement& read, const Database& database, int64_t id) {
  if (!read.bind(1, id).step()) fail<ConfigError>("store", "no run ", id, " in ", database.path().string(), "; `mlaforge runs` lists them");
}

Json inputs_of(const Database& database, int64_t id) {
  Statement read(database, "SELECT role, path, sha256 FROM input WHERE run_id = ?1 ORDER BY role, path");
  read.bind(1, id);
  Json inputs = Json::array();
  while (read.step()) inputs.push_back({{"role", read.text(0)}, {"path", read.text(1)}, {"sha256", read.text(2)}});
  return inputs;
}

// "spectrum/3/0" and its like are one kind.
Json sample_counts(const Database& database, int64_t id) {
  Statement read(database, "SELECT stage, substr(metric, 1, instr(metric || '/', '/') - 1) AS kind, count(*) FROM sample WHERE run_id = ?1 GROUP BY stage, kind ORDER BY stage, kind");
  read.bind(1, id);
  Json counts = Json::array();
  while (read.step()) counts.push_back({{"stage", read.text(0)}, {"metric", read.text(1)}, {"rows", read.integer(2)}});
  return counts;
}

}  // namespace

std::pair<RunRecord, std::vector<Metric>> Store::read_run(int64_t id) const {
  Statement row(database_, std::string(kRunColumns) + "WHERE id = ?1");
  step_to_run(row, database_, id);
  RunRecord record;
  record.status = status_of(row.text(2));
  record.method = row.text(3);
  record.model = row.text(5);
  record.architecture = row.text(6);
  record.corpus = row.text(7);
  record.protocol = row.text(8);
  record.config = parsed(row, 9);
  record.stage_versions = parsed(row, 10);
  record.dtype = row.text(11);
  record.device = row.text(12);
  record.threads = static_cast<int>(row.integer(13));
  record.seed = row.integer(14);
  record.ad_hoc_limit = row.integer(15) != 0;
  record.kv_values_original = optional_integer(row, 16);
  record.kv_values = optional_integer(row, 17);
  record.kv_values_by_layer = parsed(row, 18);
  record.git_commit = row.text(19);
  record.git_dirty = row.integer(20) != 0;
  for (const Json& word : parsed(row, 21)) record.argv.push_back(word.is_string() ? word.get<std::string>() : word.dump());
  record.host = row.text(22);
  record.library_versions = parsed(row, 23);
  record.started_at = row.text(24);
  record.finished_at = row.text(25);
  record.peak_rss_mb = row.real(26);
  record.peak_device_mb = row.real(27);
  record.error = row.text(28);
  for (const Json& text : parsed(row, 29)) record.warnings.push_back(text.is_string() ? text.get<std::string>() : text.dump());
  for (const Json& input : inputs_of(database_, id)) record.inputs.push_back({input["role"], input["path"], input["sha256"]});
  record.times = times_of(database_, id);
  return {record, metrics_of(database_, id)};
}

Json Store::run_json(int64_t id) const {
  Statement row(database_, std::string(kRunColumns) + "WHERE id = ?1");
  step_to_run(row, database_, id);
  const auto text_or_null = [&](int column) { return row.is_null(column) ? Json() : Json(row.text(column)); };
  Json run{{"run_id", id}, {"identity", row.text(0)}, {"attempt", row.integer(1)}, {"status", row.text(2)}, {"method", row.text(3)},
           {"label", row.text(4)}, {"model", row.text(5)}, {"architecture", row.text(6)}, {"corpus", row.text(7)}, {"protocol", row.text(8)},
           {"config", parsed(row, 9)}, {"stage_versions", parsed(row, 10)}, {"dtype", row.text(11)}, {"device", row.text(12)},
           {"threads", row.integer(13)}, {"seed", row.integer(14)}, {"ad_hoc_limit", row.integer(15) != 0},
           {"kv_values_original", row.is_null(16) ? Json() : Json(row.integer(16))}, {"kv_values", row.is_null(17) ? Json() : Json(row.integer(17))},
           {"kv_values_by_layer", parsed(row, 18)}, {"git_commit", row.text(19)}, {"git_dirty", row.integer(20) != 0}, {"argv", parsed(row, 21)},
           {"host", row.text(22)}, {"library_versions", parsed(row, 23)}, {"started_at", row.text(24)}, {"finished_at", text_or_null(25)},
           {"peak_rss_mb", row.is_null(26) ? Json() : Json(row.real(26))},
           {"peak_device_mb", row.is_null(27) ? Json() : Json(row.real(27))}, {"error", text_or_null(28)}, {"warnings", parsed(row, 29)}};
  run["inputs"] = inputs_of(database_, id);
  run["samples"] = sample_counts(database_, id);
  run["times"] = Json::array();
  for (const StageTime& time : times_of(database_, id))
    run["times"].push_back({{"stage", time.stage}, {"seconds", time.seconds}, {"cpu_seconds", time.cpu_seconds}});
  run["metrics"] = Json::array();
  for (const Metric& m : metrics_of(database_, id))
    run["metrics"].push_back({{"stage", m.stage}, {"name", m.name}, {"protocol", m.protocol}, {"value", m.value},
                              {"std_error", m.std_error ? Json(*m.std_error) : Json()}, {"count", m.count}, {"unit", m.unit},
                              {"better", better_name(m.better)}});
  return run;
}

std::vector<RunSummary> Store::runs() const {
  Statement row(database_, std::string(kRunColumns) + "ORDER BY id");
  std::vector<RunSummary> runs;
  while (row.step())
    runs.push_back({.id = row.integer(30), .identity = row.text(0), .attempt = row.integer(1), .method = row.text(3), .label = row.text(4),
                    .model = row.text(5), .corpus = row.text(7), .protocol = row.text(8), .status = row.text(2),
                    .ad_hoc_limit = row.integer(15) != 0, .kv_values = optional_integer(row, 17), .started_at = row.text(24),
                    .finished_at = row.text(25), .error = row.text(28)});
  return runs;
}

}  // namespace mla
