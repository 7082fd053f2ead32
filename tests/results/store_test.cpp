#include "results/store.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <limits>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/sha256.h"
#include "results/schema.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

int64_t number(const Database& database, const std::string& sql) {
  Statement read(database, sql);
  return read.step() ? read.integer(0) : -1;
}

std::string hash_of(const fs::path& path) { return sha256_hex(read_text_file(path)); }
std::string status_of(const Store& store, int64_t id) { return store.run_json(id).at("status"); }

// A file that another program, or another version of ours, left.
void make_database(const fs::path& path, const std::vector<const char*>& statements) {
  Database database(path, Database::Mode::read_write_create);
  for (const char* sql : statements) database.execute(sql);
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

AnswerRow sample_answer(int64_t position) {
  return {"arc_easy", "mla", position, std::to_string(position), std::string(64, 'a'), "1", "2", 0.5, 7, "{}"};
}

// A process of its own that ends without cleaning up, in the middle of a run.
void write_in_child(const fs::path& path, int runs) {
  const pid_t child = fork();
  if (child == 0) {
    Store store = Store::open(path);
    for (int i = 0; i < runs; ++i) add_done(store, {.kv_values = 100 + i});
    store.begin_run(sample_record());
    _exit(0);
  }
  int state = 0;
  waitpid(child, &state, 0);
  REQUIRE(state == 0);
}

}  // namespace

TEST_CASE("a new store carries our application id, the schema version and strict tables", "[results]") {
  const TemporaryFolder folder;

  const Store store = Store::open(folder / "runs.db");

  CHECK(number(store.database(), "PRAGMA application_id") == kApplicationId);
  CHECK(number(store.database(), "PRAGMA user_version") == kSchemaVersion);
  CHECK(number(store.database(), "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'") == 11);
  CHECK(number(store.database(), "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND strict = 1") == 11);
}

TEST_CASE("a writing connection keeps a rollback journal, flushes fully, checks references and distrusts the schema", "[results]") {
  const TemporaryFolder folder;

  const Store store = Store::open(folder / "runs.db");

  Statement journal(store.database(), "PRAGMA journal_mode");
  REQUIRE(journal.step());
  CHECK(journal.text(0) == "delete");
  CHECK(number(store.database(), "PRAGMA synchronous") == 2);
  CHECK(number(store.database(), "PRAGMA foreign_keys") == 1);
  CHECK(number(store.database(), "PRAGMA trusted_schema") == 0);
}

TEST_CASE("a finished run reads back as it was written", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const RunRecord written = sample_record({.warnings = {"first", "second \"quoted\""}});

  const int64_t id = store.begin_run(written);
  store.finish_run(id, written, sample_metrics());
  const auto [read, metrics] = store.read_run(id);

  CHECK(run_identity(read) == run_identity(written));
  CHECK(read.status == RunStatus::done);
  CHECK(read.config == written.config);
  CHECK(read.argv == written.argv);
  CHECK(read.warnings == written.warnings);
  CHECK(read.kv_values == written.kv_values);
  CHECK(read.kv_values_original == written.kv_values_original);
  CHECK(read.kv_values_by_layer == written.kv_values_by_layer);
  CHECK(read.finished_at == written.finished_at);
  REQUIRE(read.times.size() == 2);
  CHECK(read.times[1].stage == "convert");
  CHECK(read.times[1].cpu_seconds == 4.0);
  CHECK(metrics.size() == sample_metrics().size());
}

TEST_CASE("a metric keeps every bit of its value", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const double value = std::nextafter(29.6, 30.0);

  const int64_t id = store.begin_run(sample_record());
  store.finish_run(id, sample_record(), {{"perplexity", "mla", "p", value, std::nullopt, 16, "1", Better::lower}});

  const auto [record, metrics] = store.read_run(id);
  REQUIRE(metrics.size() == 1);
  CHECK(metrics[0].value == value);
  CHECK_FALSE(metrics[0].std_error.has_value());
}

TEST_CASE("attempts at one identity are counted, another configuration starts again at one", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");

  add_done(store);
  add_done(store);
  add_done(store, {.kv_values = 48});

  const std::vector<RunSummary> runs = store.runs();
  REQUIRE(runs.size() == 3);
  CHECK(runs[0].identity == runs[1].identity);
  CHECK(runs[1].attempt == 2);
  CHECK(runs[2].identity != runs[0].identity);
  CHECK(runs[2].attempt == 1);
}

TEST_CASE("a new attempt marks the one that never ended as interrupted", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const int64_t done = add_done(store), killed = store.begin_run(sample_record());
  const int64_t other = store.begin_run(sample_record({.kv_values = 48}));

  const int64_t next = store.begin_run(sample_record());

  CHECK(status_of(store, done) == "done");
  CHECK(status_of(store, killed) == "interrupted");
  CHECK(status_of(store, other) == "running");
  CHECK(status_of(store, next) == "running");
}

TEST_CASE("the latest finished run of an identity is found, unfinished ones are not", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const std::string identity = run_identity(sample_record());
  store.fail_run(store.begin_run(sample_record()), "out of memory");
  CHECK_FALSE(store.find_done(identity).has_value());

  add_done(store);
  const int64_t latest = add_done(store);
  store.interrupt_run(store.begin_run(sample_record()));

  CHECK(store.find_done(identity) == latest);
}

TEST_CASE("a failed run keeps its reason", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");

  const int64_t id = store.begin_run(sample_record());
  store.fail_run(id, "[perplexity] NaN in layer 3");

  const Json run = store.run_json(id);
  CHECK(run.at("status") == "failed");
  CHECK(run.at("error") == "[perplexity] NaN in layer 3");
  CHECK(run.at("finished_at").is_string());
}

TEST_CASE("a metric that is not finite leaves the run as it was", "[results][errors]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const int64_t id = store.begin_run(sample_record());
  const Json before = store.run_json(id);
  std::vector<Metric> metrics = sample_metrics();

  metrics.back().value = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(store.finish_run(id, sample_record(), metrics), NumericalError);
  metrics = sample_metrics();
  metrics.back().std_error = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(store.finish_run(id, sample_record(), metrics), NumericalError);

  CHECK(store.run_json(id) == before);
}

TEST_CASE("a sample given again replaces the first", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const auto sink = store.sink(store.begin_run(sample_record()));

  sink->add({{"mla", "window_nll", 0, 3.0}, {"mla", "window_nll", 1, 4.0}});
  sink->add({{"mla", "window_nll", 1, 5.0}});

  CHECK(number(store.database(), "SELECT count(*) FROM sample") == 2);
  CHECK(number(store.database(), "SELECT value FROM sample WHERE position = 1") == 5);
}

TEST_CASE("samples are refused as a batch when one is not finite or the run is unknown", "[results][errors]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const auto sink = store.sink(store.begin_run(sample_record()));

  CHECK_THROWS_AS(sink->add({{"mla", "window_nll", 0, 3.0}, {"mla", "window_nll", 1, std::nan("")}}), NumericalError);
  CHECK_THROWS_AS(store.sink(77), ConfigError);

  CHECK(number(store.database(), "SELECT count(*) FROM sample") == 0);
}

TEST_CASE("two inputs of the same role are both kept", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  RunRecord record = sample_record();
  record.inputs = {{"checkpoint", "model-00001.safetensors", std::string(64, 'a')}, {"checkpoint", "model-00002.safetensors", std::string(64, 'b')}};

  const int64_t id = store.begin_run(record);
  store.finish_run(id, record, {});

  CHECK(store.read_run(id).first.inputs.size() == 2);
}

TEST_CASE("removing a run removes its rows in every table", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const int64_t removed = add_done(store), kept = add_done(store, {.kv_values = 48});
  store.sink(removed)->add({{"mla", "window_nll", 0, 3.0}});

  store.remove_run(removed);

  REQUIRE(store.runs().size() == 1);
  CHECK(store.runs()[0].id == kept);
  for (const char* table : {"input", "stage_time", "metric", "sample"})
    CHECK(number(store.database(), std::string("SELECT count(*) FROM ") + table + " WHERE run_id = " + std::to_string(removed)) == 0);
  CHECK_THROWS_AS(store.remove_run(removed), ConfigError);
}

TEST_CASE("a record without configuration, or with bytes that are no text, is stored all the same", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  RunRecord bare;
  bare.method = "svd";
  bare.argv = {"mlaforge", "\xff\xfe"};
  bare.warnings = {"odd byte \xff"};

  const int64_t id = store.begin_run(bare);
  store.finish_run(id, bare, {});

  CHECK(store.runs()[0].label == "svd");
  CHECK(status_of(store, id) == "done");
}

TEST_CASE("a schema newer than ours is not written to", "[results][errors]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";
  const std::string newer = std::to_string(kSchemaVersion + 1);
  { Store::open(path).database().execute(("PRAGMA user_version = " + newer).c_str()); }

  const std::string message = message_of([&] { Store::open(path); });

  CHECK_THROWS_AS(Store::open(path), StoreError);
  CHECK_THAT(message, Catch::Contains("wanted schema version " + std::to_string(kSchemaVersion)) && Catch::Contains("got " + newer) && Catch::Contains("newer mlaforge"));
  CHECK_NOTHROW(Store::open_read_only(path));
}

TEST_CASE("a database of another program is refused and not one byte of it changes", "[results][errors]") {
  const TemporaryFolder folder;
  const fs::path tables = folder / "tables.db", marked = folder / "marked.db", log = folder / "log.db";
  make_database(tables, {"CREATE TABLE bookmark (url TEXT)"});
  make_database(marked, {"PRAGMA application_id = 7"});
  make_database(log, {"PRAGMA journal_mode = WAL", "CREATE TABLE bookmark (url TEXT)"});

  for (const fs::path& path : {tables, marked, log}) {
    const std::string before = hash_of(path);
    CHECK_THROWS_AS(Store::open(path), StoreError);
    CHECK_THROWS_AS(Store::open_read_only(path), StoreError);
    CHECK(hash_of(path) == before);
  }
}

TEST_CASE("a text file is not taken for a store", "[results][errors]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "notes.txt";
  const std::string text(5000, 'x');
  write_file_atomically(path, text);

  CHECK_THROWS_AS(Store::open(path), StoreError);
  CHECK_THROWS_AS(Store::open_read_only(path), StoreError);

  CHECK(read_text_file(path) == text);
}

TEST_CASE("a store that cannot be made there is a resource error that names the path", "[results][errors]") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", "x");
  const fs::path below = folder.path() / "file" / "runs.db", nowhere = folder.path() / "missing" / "runs.db";

  CHECK_THROWS_AS(Store::open(below), ResourceError);
  CHECK_THROWS_AS(Store::open(nowhere), ResourceError);

  CHECK_THAT(message_of([&] { Store::open(below); }), Catch::Contains(below.string()) && Catch::Contains("--store"));
}

TEST_CASE("a folder without write permission is a resource error", "[results][errors]") {
  if (geteuid() == 0) return skip("root writes everywhere");
  const TemporaryFolder folder;
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec);

  CHECK_THROWS_AS(Store::open(folder / "runs.db"), ResourceError);

  fs::permissions(folder.path(), fs::perms::owner_all);
}

TEST_CASE("a folder, a missing file and an empty file are no stores to read", "[results][errors]") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "empty.db", "");

  CHECK_THROWS_AS(Store::open(folder.path()), StoreError);
  CHECK_THROWS_AS(Store::open_read_only(folder.path()), StoreError);
  CHECK_THROWS_AS(Store::open_read_only(folder / "missing.db"), StoreError);
  CHECK_THROWS_AS(Store::open_read_only(folder / "empty.db"), StoreError);

  CHECK_FALSE(fs::exists(folder / "missing.db"));
  CHECK(fs::file_size(folder / "empty.db") == 0);
}

TEST_CASE("reading changes no byte and writing through it is refused", "[results]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";
  {
    Store store = Store::open(path);
    add_done(store);
  }
  const std::string before = hash_of(path);

  Store reader = Store::open_read_only(path);

  CHECK(reader.runs().size() == 1);
  CHECK_THROWS_AS(reader.begin_run(sample_record()), StoreError);
  CHECK(hash_of(path) == before);
}

TEST_CASE("runs of two processes are all there, and what the dead one left running is taken over", "[results]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";

  write_in_child(path, 3);
  write_in_child(path, 3);

  Store store = Store::open(path);
  CHECK(number(store.database(), "SELECT count(*) FROM run WHERE status = 'done'") == 6);
  CHECK(number(store.database(), "SELECT count(*) FROM run WHERE status = 'interrupted'") == 1);
  CHECK(number(store.database(), "SELECT count(*) FROM run WHERE status = 'running'") == 1);
}

TEST_CASE("a transaction that is not committed leaves nothing", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const int64_t id = add_done(store);

  {
    const Transaction abandoned(store.database());
    store.database().execute("DELETE FROM run");
  }

  CHECK(store.runs().at(0).id == id);
}

TEST_CASE("an unknown run is a configuration error", "[results][errors]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");

  CHECK_THROWS_AS(store.run_json(5), ConfigError);
  CHECK_THROWS_AS(store.read_run(5), ConfigError);
  CHECK_THROWS_AS(store.finish_run(5, sample_record(), {}), ConfigError);
}

TEST_CASE("the JSON of a run holds its inputs, times, metrics and counts of samples", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const int64_t id = add_done(store);
  store.sink(id)->add({{"mla", "window_nll", 0, 3.0}, {"mla", "window_nll", 1, 4.0}});

  const Json run = store.run_json(id);

  CHECK(run.at("inputs").size() == 2);
  CHECK(run.at("times").at(0) == Json{{"stage", "load"}, {"seconds", 1.5}, {"cpu_seconds", 1.25}});
  CHECK(run.at("samples") == Json::array({{{"stage", "mla"}, {"metric", "window_nll"}, {"rows", 2}}}));
  CHECK(run.at("metrics").size() == 4);
  CHECK(run.at("metrics").at(0).at("better") == "lower");
  CHECK(run.at("peak_rss_mb") == 512.5);
  CHECK(run.at("peak_device_mb") == 0.0);
}

TEST_CASE("a store of an older version is read as it is, and brought forward when it is written to", "[results][migration]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";
  {
    Database old(path, Database::Mode::read_write_create);
    old.execute(read_text_file(golden("stores/schema_1.sql")).c_str());
  }
  {
    const Store store = Store::open_read_only(path);
    REQUIRE(store.runs().size() == 1);
    CHECK(number(store.database(), "PRAGMA user_version") == 1);
  }
  Store store = Store::open(path);
  CHECK(number(store.database(), "PRAGMA user_version") == kSchemaVersion);
  const auto [record, metrics] = store.read_run(1);
  CHECK(record.method == "stream_match");
  CHECK(metrics.size() == 3);
  store.answer_sink(1)->add({sample_answer(0)});
  CHECK(store.answers(1).size() == 1);
}

TEST_CASE("answers read back by task and stage, and a batch is written whole or not at all", "[results][answers]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const int64_t id = store.begin_run(sample_record());
  const auto sink = store.answer_sink(id);
  sink->add({sample_answer(0), sample_answer(1)});
  AnswerRow bad = sample_answer(3);
  bad.score = std::nan("");
  CHECK_THROWS_AS(sink->add({sample_answer(2), bad}), NumericalError);
  AnswerRow again = sample_answer(1);
  again.prediction = "other";
  sink->add({again});

  const std::vector<AnswerRow> rows = store.answers(id, "arc_easy", "mla");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].position == 0);
  CHECK(rows[1].prediction == "other");
  CHECK(store.answers(id, "piqa").empty());
  CHECK_THROWS_AS(store.answers(id + 1), ConfigError);
}

TEST_CASE("an unfinished run is taken up under its old id, a finished one is not", "[results][answers]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const RunRecord record = sample_record();
  const int64_t first = store.resume_run(record);
  store.answer_sink(first)->add({sample_answer(0)});
  store.interrupt_run(first);
  CHECK(store.resume_run(record) == first);
  CHECK(store.answers(first).size() == 1);
  store.finish_run(first, record, sample_metrics());
  CHECK(store.resume_run(record) != first);
}
