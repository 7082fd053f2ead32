#include "results/store.h"

#include <cmath>

#include "core/base/error.h"
#include "core/base/process.h"
#include "results/better.h"
#include "results/schema.h"

namespace mla {
namespace {

constexpr const char* kInsertRun = R"(INSERT INTO run (identity, attempt, status, method, label, model, architecture, corpus, protocol,
    config, stage_versions, dtype, device, threads, seed, ad_hoc_limit, git_commit, git_dirty, argv, host, library_versions, started_at, warnings)
  SELECT ?1, 1 + coalesce(max(attempt), 0), 'running', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21
  FROM run WHERE identity = ?1)";

// Bytes that are no UTF-8 (arguments, file names) are replaced: a number is worth more than its spelling.
std::string text_of(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string label_of(const RunRecord& record) {
  const auto label = record.config.is_object() ? record.config.find("label") : record.config.end();
  return label != record.config.end() && label->is_string() ? label->get<std::string>() : record.method;
}

void require_finite(double value, const std::string& what) {
  if (!std::isfinite(value)) fail<NumericalError>("store", "wanted a finite value of ", what, ", got ", value, "; nothing was written");
}

// Rows that begin_run knows already are written again by finish_run: both go through here.
void write_inputs(Database& database, int64_t id, const RunRecord& record) {
  Statement insert(database, "INSERT OR REPLACE INTO input (run_id, role, path, sha256) VALUES (?1, ?2, ?3, ?4)");
  for (const InputHash& input : record.inputs) insert.bind(1, id).bind(2, input.role).bind(3, input.path).bind(4, input.sha256).run();
}

void write_times(Database& database, int64_t id, const RunRecord& record) {
  Statement insert(database, "INSERT OR REPLACE INTO stage_time (run_id, position, stage, seconds, cpu_seconds) VALUES (?1, ?2, ?3, ?4, ?5)");
  int64_t position = 0;
  for (const StageTime& time : record.times)
    insert.bind(1, id).bind(2, position++).bind(3, time.stage).bind(4, time.seconds).bind(5, time.cpu_seconds).run();
}

void write_metrics(Database& database, int64_t id, const std::vector<Metric>& metrics) {
  Statement insert(database,
                   "INSERT OR REPLACE INTO metric (run_id, stage, name, protocol, value, std_error, count, unit, better) "
                   "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
  for (const Metric& metric : metrics) {
    insert.bind(1, id).bind(2, metric.stage).bind(3, metric.name).bind(4, metric.protocol).bind(5, metric.value);
    insert.bind(6, metric.std_error).bind(7, metric.count).bind(8, metric.unit).bind(9, std::string_view(better_name(metric.better))).run();
  }
}

class StoreSink : public SampleSink {
 public:
  StoreSink(Database& database, int64_t run_id) : database_(database), run_id_(run_id) {}

  void add(const std::vector<SampleRow>& rows) override {
    for (const SampleRow& row : rows) require_finite(row.value, row.metric + " " + std::to_string(row.index));
    Transaction transaction(database_);
    Statement insert(database_, "INSERT OR REPLACE INTO sample (run_id, stage, metric, position, value) VALUES (?1, ?2, ?3, ?4, ?5)");
    for (const SampleRow& row : rows) insert.bind(1, run_id_).bind(2, row.stage).bind(3, row.metric).bind(4, row.index).bind(5, row.value).run();
    transaction.commit();
  }

 private:
  Database& database_;
  int64_t run_id_;
};

class StoreAnswers : public AnswerSink {
 public:
  StoreAnswers(Database& database, int64_t run_id) : database_(database), run_id_(run_id) {}

  void add(const std::vector<AnswerRow>& rows) override {
    for (const AnswerRow& row : rows) require_finite(row.score, "the score of " + row.task + " " + row.item);
    Transaction transaction(database_);
    Statement insert(database_,
                     "INSERT OR REPLACE INTO answer (run_id, task, stage, position, item, prompt_sha256, prediction, gold, score, tokens, detail) "
                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
    for (const AnswerRow& row : rows) {
      insert.bind(1, run_id_).bind(2, row.task).bind(3, row.stage).bind(4, row.position).bind(5, row.item).bind(6, row.prompt_sha256);
      insert.bind(7, row.prediction).bind(8, row.gold).bind(9, row.score).bind(10, row.tokens).bind(11, row.detail).run();
    }
    transaction.commit();
  }

 private:
  Database& database_;
  int64_t run_id_;
};

void require_run(const Database& database, int64_t id) {
  Statement read(database, "SELECT 1 FROM run WHERE id = ?1");
  if (!read.bind(1, id).step()) fail<ConfigError>("store", "no run ", id, " in ", database.path().string(), "; `mlaforge runs` lists them");
}

void end_run(Database& database, int64_t id, const char* status, const std::optional<std::string>& error) {
  Transaction transaction(database);
  require_run(database, id);
  Statement update(database, "UPDATE run SET status = ?2, finished_at = ?3, error = ?4 WHERE id = ?1");
  update.bind(1, id).bind(2, std::string_view(status)).bind(3, std::string_view(utc_now())).bind(4, error).run();
  transaction.commit();
}

}  // namespace

Store Store::open(const std::filesystem::path& path) {
  Store store(Database(path, Database::Mode::read_write_create));
  create_or_migrate(store.database_);
  return store;
}

Store Store::open_read_only(const std::filesystem::path& path) {
  Store store(Database(path, Database::Mode::read_only));
  check_readable(store.database_);
  return store;
}

int64_t Store::begin_run(const RunRecord& record) {
  const std::string identity = run_identity(record);
  Transaction transaction(database_);
  Statement(database_, "UPDATE run SET status = 'interrupted' WHERE identity = ?1 AND status = 'running'").bind(1, identity).run();
  Statement insert(database_, kInsertRun);
  insert.bind(1, identity).bind(2, record.method).bind(3, label_of(record)).bind(4, record.model);
  insert.bind(5, record.architecture).bind(6, record.corpus).bind(7, record.protocol).bind(8, text_of(record.config));
  insert.bind(9, text_of(record.stage_versions)).bind(10, record.dtype).bind(11, record.device).bind(12, int64_t{record.threads});
  insert.bind(13, record.seed).bind(14, int64_t{record.ad_hoc_limit}).bind(15, record.git_commit).bind(16, int64_t{record.git_dirty});
  insert.bind(17, text_of(record.argv)).bind(18, record.host).bind(19, text_of(record.library_versions));
  insert.bind(20, record.started_at).bind(21, text_of(record.warnings)).run();
  const int64_t id = database_.last_insert_id();
  write_inputs(database_, id, record);
  transaction.commit();
  return id;
}

int64_t Store::resume_run(const RunRecord& record) {
  {
    Transaction transaction(database_);
    Statement read(database_, "SELECT id FROM run WHERE identity = ?1 AND status <> 'done' ORDER BY attempt DESC LIMIT 1");
    read.bind(1, run_identity(record));
    if (read.step()) {
      const int64_t id = read.integer(0);
      Statement update(database_, "UPDATE run SET status = 'running', error = NULL, finished_at = NULL, argv = ?2, host = ?3, git_commit = ?4, git_dirty = ?5 WHERE id = ?1");
      update.bind(1, id).bind(2, text_of(record.argv)).bind(3, record.host).bind(4, record.git_commit).bind(5, int64_t{record.git_dirty}).run();
      transaction.commit();
      return id;
    }
  }
  return begin_run(record);
}

std::unique_ptr<AnswerSink> Store::answer_sink(int64_t run_id) {
  require_run(database_, run_id);
  return std::make_unique<StoreAnswers>(database_, run_id);
}

std::vector<AnswerRow> Store::answers(int64_t run_id, const std::string& task, const std::string& stage) const {
  require_run(database_, run_id);
  Statement read(database_,
                 "SELECT task, stage, position, item, prompt_sha256, prediction, gold, score, tokens, detail FROM answer WHERE run_id = ?1 "
                 "AND (?2 = '' OR task = ?2) AND (?3 = '' OR stage = ?3) ORDER BY task, stage, position");
  read.bind(1, run_id).bind(2, task).bind(3, stage);
  std::vector<AnswerRow> rows;
  while (read.step())
    rows.push_back({read.text(0), read.text(1), read.integer(2), read.text(3), read.text(4), read.text(5), read.text(6), read.real(7), read.integer(8), read.text(9)});
  return rows;
}

std::unique_ptr<SampleSink> Store::sink(int64_t run_id) {
  require_run(database_, run_id);
  return std::make_unique<StoreSink>(database_, run_id);
}

void Store::finish_run(int64_t id, const RunRecord& record, const std::vector<Metric>& metrics) {
  for (const Metric& metric : metrics) {
    require_finite(metric.value, metric.stage + " " + metric.name);
    if (metric.std_error) require_finite(*metric.std_error, "the standard error of " + metric.stage + " " + metric.name);
  }
  Transaction transaction(database_);
  require_run(database_, id);
  Statement update(database_,
                   "UPDATE run SET status = 'done', finished_at = ?2, kv_values_original = ?3, kv_values = ?4, kv_values_by_layer = ?5, "
                   "peak_rss_mb = ?6, peak_device_mb = ?7, warnings = ?8, library_versions = ?9, error = NULL WHERE id = ?1");
  update.bind(1, id).bind(2, record.finished_at.empty() ? utc_now() : record.finished_at).bind(3, record.kv_values_original);
  update.bind(4, record.kv_values).bind(6, record.peak_rss_mb).bind(7, record.peak_device_mb);
  update.bind(8, text_of(record.warnings)).bind(9, text_of(record.library_versions));
  if (record.kv_values_by_layer.is_null()) update.bind_null(5).run();
  else update.bind(5, text_of(record.kv_values_by_layer)).run();
  write_inputs(database_, id, record);
  write_times(database_, id, record);
  write_metrics(database_, id, metrics);
  transaction.commit();
}

void Store::fail_run(int64_t id, const std::string& error) { end_run(database_, id, "failed", error); }
void Store::interrupt_run(int64_t id) { end_run(database_, id, "interrupted", std::nullopt); }

void Store::remove_run(int64_t id) {
  Transaction transaction(database_);
  require_run(database_, id);
  Statement(database_, "DELETE FROM run WHERE id = ?1").bind(1, id).run();
  transaction.commit();
}

std::optional<int64_t> Store::find_done(const std::string& identity) const {
  Statement read(database_, "SELECT max(id) FROM run WHERE identity = ?1 AND status = 'done'");
  read.bind(1, identity);
  return read.step() && !read.is_null(0) ? std::optional(read.integer(0)) : std::nullopt;
}

}  // namespace mla
