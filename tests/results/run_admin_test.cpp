#include "results/run_admin.h"

#include "core/base/error.h"
#include "core/base/sha256.h"
#include "results/job_queue.h"
#include "results/run_diff.h"
#include "results/run_export.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

int64_t count(const Store& store, const std::string& from) {
  Statement read(store.database(), "SELECT count(*) FROM " + from);
  return read.step() ? read.integer(0) : -1;
}

// Everything of a store but ids and attempts, as text.
std::string content(const Store& store) {
  std::string all;
  Statement read(store.database(),
                 "SELECT r.identity || r.label || m.stage || m.name || m.value || coalesce(m.std_error, '') FROM run r JOIN metric m ON m.run_id = r.id "
                 "WHERE r.status = 'done' ORDER BY 1");
  while (read.step()) all += read.text(0) + '\n';
  return all;
}

}  // namespace

TEST_CASE("merging brings the runs that are not there, once, with all their rows", "[results][merge]") {
  const TemporaryFolder folder;
  Store here = Store::open(folder / "here.db"), there = Store::open(folder / "there.db");
  add_done(here, {.kv_values = 96});
  add_done(there, {.kv_values = 96});
  const int64_t other = add_done(there, {.kv_values = 48});
  there.sink(other)->add({{"mla", "nll", 0, 1.5}, {"mla", "nll", 1, 2.5}});
  there.answer_sink(other)->add({{"arc_easy", "mla", 0, "0", std::string(64, 'a'), "1", "2", 0.5, 7, "{}"}});
  tag_run(there, other, "keep");
  there.begin_run(sample_record({.kv_values = 24}));
  JobQueue jobs(there, "one", 30);
  const Job job{sha256_hex("job"), "a job", {{"freqfold", "4"}}};
  jobs.set_jobs("s", {job});
  jobs.claim("s", 1);
  jobs.finish(job.key, other, 2);

  const MergeReport report = merge_runs(here, there), again = merge_runs(here, there);

  CHECK(report.added == 1);
  CHECK(report.known == 1);
  CHECK(report.unfinished == 1);
  CHECK(report.jobs == 1);
  CHECK(again.added == 0);
  CHECK(again.jobs == 0);
  CHECK(here.runs().size() == 2);
  CHECK(count(here, "sample") == 2);
  CHECK(count(here, "answer") == 1);
  CHECK(count(here, "tag") == 1);
  CHECK(content(here) == content(there));
  const auto done = done_jobs(here, {job.key});
  REQUIRE(done.count(job.key) == 1);
  CHECK(here.read_run(done.at(job.key)).first.kv_values == 48);
  CHECK(JobQueue(here, "two", 30).counts("s").done == 1);
}

TEST_CASE("a job that failed elsewhere has failed here too, unless it is done here", "[results][merge]") {
  const TemporaryFolder folder;
  Store here = Store::open(folder / "here.db"), there = Store::open(folder / "there.db");
  const std::vector<Job> jobs{{sha256_hex("a"), "a", Json::object()}, {sha256_hex("b"), "b", Json::object()}};
  JobQueue mine(here, "me", 30), theirs(there, "they", 30);
  mine.set_jobs("s", jobs);
  theirs.set_jobs("s", jobs);
  mine.claim("s", 1);
  mine.finish(jobs[0].key, add_done(here), 2);
  for (const Job& job : jobs) {
    theirs.claim("s", 1);
    theirs.fail_job(job.key, "no room", 3);
  }
  merge_runs(here, there), merge_runs(here, there);
  const std::vector<JobState> states = mine.states("s");
  CHECK(states[0].status == JobStatus::done);
  CHECK(states[1].status == JobStatus::failed);
  CHECK(states[1].error == "no room");
}

TEST_CASE("merging in either order gives the same content", "[results][merge]") {
  const TemporaryFolder folder;
  Store a = Store::open(folder / "a.db"), b = Store::open(folder / "b.db"), ab = Store::open(folder / "ab.db"), ba = Store::open(folder / "ba.db");
  for (int i = 0; i < 5; ++i) add_done(a, {.kv_values = 10 + i, .perplexity = 20.5 + i});
  for (int i = 3; i < 9; ++i) add_done(b, {.kv_values = 10 + i, .perplexity = 20.5 + i});
  merge_runs(ab, a), merge_runs(ab, b), merge_runs(ba, b), merge_runs(ba, a);
  CHECK(ab.runs().size() == 9);
  CHECK(content(ab) == content(ba));
}

TEST_CASE("tags are kept once, removed by name, and need a run", "[results][tags]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const int64_t id = add_done(store);
  tag_run(store, id, "paper");
  tag_run(store, id, "paper");
  CHECK(count(store, "tag") == 1);
  CHECK(untag_run(store, id, "paper"));
  CHECK_FALSE(untag_run(store, id, "paper"));
  CHECK_THROWS_WITH(tag_run(store, 99, "x"), Contains("no run 99"));
  CHECK_THROWS_AS(tag_run(store, id, ""), ConfigError);
}

TEST_CASE("garbage is what a finished run replaces; the rest stays unless it is asked for", "[results][gc]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  store.fail_run(store.begin_run(sample_record()), "no space");
  const int64_t first = add_done(store), second = add_done(store);
  const int64_t lonely = store.begin_run(sample_record({.kv_values = 1}));
  store.interrupt_run(lonely);
  const int64_t running = store.begin_run(sample_record({.kv_values = 2}));
  JobQueue(store, "one", 30).set_jobs("s", {{sha256_hex("x"), "x", Json::object()}});
  JobQueue(store, "one", 30).set_jobs("s", {{sha256_hex("y"), "y", Json::object()}});

  const GcReport report = collect_garbage(store, false, false);

  CHECK(report.unfinished == 1);
  CHECK(report.superseded == 0);
  CHECK(report.jobs == 1);
  CHECK(store.runs().size() == 4);
  const GcReport more = collect_garbage(store, true, true);
  CHECK(more.unfinished == 1);
  CHECK(more.superseded == 1);
  const std::vector<RunSummary> left = store.runs();
  REQUIRE(left.size() == 2);
  CHECK(left[0].id == second);
  CHECK(left[1].id == running);
  CHECK(first != second);
}

TEST_CASE("a diff shows settings that differ and every metric with its difference", "[results][diff]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const int64_t a = add_done(store, {.label = "one", .kv_values = 96, .perplexity = 30}), b = add_done(store, {.label = "two", .kv_values = 48, .perplexity = 33.5});

  const Table table = diff_runs(store, a, b);

  const auto row = [&](const std::string& name) -> std::vector<Cell> {
    for (const auto& cells : table.rows)
      if (cells[1] == Cell(name)) return cells;
    return {};
  };
  REQUIRE_FALSE(row("label").empty());
  CHECK(row("label")[3] == Cell(std::string("two")));
  CHECK(row("options.rank")[2] == Cell(std::string("96")));
  CHECK(row("model").empty());  // equal
  REQUIRE_FALSE(row("mla perplexity (hf-chunk/512/first16)").empty());
  CHECK(row("mla perplexity (hf-chunk/512/first16)")[4] == Cell(3.5));
  CHECK_THROWS_WITH(diff_runs(store, a, 77), Contains("no run 77"));
}

TEST_CASE("exports are CSV, JSON lines, and SQL that makes the store again", "[results][export]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const int64_t id = add_done(store, {.label = "it's \"quoted\", <b>\n", .perplexity = 30.1});
  tag_run(store, id, "a");
  add_done(store, {.kv_values = 12});

  const std::string csv = export_runs(store, "csv"), lines = export_runs(store, "jsonl"), sql = export_runs(store, "sql");

  CHECK(csv.rfind("run_id,", 0) == 0);
  CHECK(csv.find("30.1,") != std::string::npos);
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 2);
  CHECK(parse_json(lines.substr(0, lines.find('\n')), "line").at("label") == "it's \"quoted\", <b>\n");
  {
    Database copy(folder / "copy.db", Database::Mode::read_write_create);
    copy.execute(sql.c_str());
  }
  const Store again = Store::open_read_only(folder / "copy.db");
  CHECK(content(again) == content(store));
  CHECK(export_runs(again, "sql") == sql);
  CHECK_THROWS_WITH(export_runs(store, "xml"), Contains("csv, jsonl or sql"));
}
