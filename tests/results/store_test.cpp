#include "results/store.h"

#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

std::string status_of(const Store& store, int64_t id) { return store.run_json(id).at("status"); }

}  // namespace

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

TEST_CASE("what generated is written when a run is finished, and is no part of its identity", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  RunRecord record = sample_record();
  const std::string identity = run_identity(record);

  const int64_t id = store.begin_run(record);
  record.library_versions["decode"] = {{"mla", {{"way", "libtorch"}, {"reason", "layer 0 has experts"}}}};
  store.finish_run(id, record, sample_metrics());

  CHECK(run_identity(record) == identity);
  CHECK(store.read_run(id).first.library_versions == record.library_versions);
  CHECK(number(store.database(), "SELECT id FROM run WHERE library_versions ->> '$.decode.mla.reason' LIKE '%experts'") == id);
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
