// The run database: every number with what is needed to believe it. Rows are written in whole transactions.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/base/metric.h"
#include "core/base/run_record.h"
#include "results/database.h"

namespace mla {

// One line of a run list.
struct RunSummary {
  int64_t id = 0;
  std::string identity;  // 64 hex digits; equal for attempts at the same run
  int64_t attempt = 1;
  std::string method;
  std::string label;  // config["label"], else the method
  std::string model;
  std::string corpus;
  std::string protocol;
  std::string status;  // running, done, failed, interrupted
  bool ad_hoc_limit = false;
  std::optional<int64_t> kv_values;
  std::string started_at;
  std::string finished_at;  // empty while running
  std::string error;
};

// Not to be used across fork(): each process opens its own. The sinks a store hands out must not outlive it.
class Store {
 public:
  // Creates the file or migrates it. Throws StoreError (not a run database, newer schema) or ResourceError (unwritable).
  static Store open(const std::filesystem::path& path);
  // Reads a schema of this version or newer; writing through it throws StoreError.
  static Store open_read_only(const std::filesystem::path& path);

  // Commits a row with status running and returns its id. Earlier rows of the same identity stay as they are, but one
  // still 'running' is marked interrupted; the new row is the next attempt.
  int64_t begin_run(const RunRecord& record);
  // The same, but an unfinished attempt at the same identity is taken up again under its old id, with the rows it has.
  int64_t resume_run(const RunRecord& record);
  // Answers to tasks, as sink() for samples.
  std::unique_ptr<AnswerSink> answer_sink(int64_t run_id);
  // Of one task and stage, by position; empty arguments mean all.
  std::vector<AnswerRow> answers(int64_t run_id, const std::string& task = "", const std::string& stage = "") const;
  // Per-sample rows of a run; each add() is one transaction, and a row given again replaces the first. The run's
  // existence is checked here. Values must be finite.
  std::unique_ptr<SampleSink> sink(int64_t run_id);
  // Adds what the run measured (cache values, times, peaks, warnings, inputs, libraries and what decoded), writes its metrics and marks it done; one
  // transaction. What the identity is made of stays as begin_run wrote it. A metric that is not finite
  // throws NumericalError and leaves the run as it was.
  void finish_run(int64_t id, const RunRecord& record, const std::vector<Metric>& metrics);
  void fail_run(int64_t id, const std::string& error);
  void interrupt_run(int64_t id);
  void remove_run(int64_t id);

  // The latest finished run of this identity.
  std::optional<int64_t> find_done(const std::string& identity) const;
  std::vector<RunSummary> runs() const;  // by id
  // The record and metrics of a run as they were written. Throws ConfigError when there is no such run.
  std::pair<RunRecord, std::vector<Metric>> read_run(int64_t id) const;
  // The whole run: record, metrics and sample counts. Throws ConfigError when there is no such run.
  Json run_json(int64_t id) const;

  Database& database() { return database_; }
  const Database& database() const { return database_; }
  sqlite3* handle() const { return database_.handle(); }

 private:
  explicit Store(Database database) : database_(std::move(database)) {}

  Database database_;
};

}  // namespace mla
