#include "results/job_queue.h"

#include <sys/wait.h>
#include <unistd.h>

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

std::vector<Job> some_jobs(int count) {
  std::vector<Job> jobs;
  for (int i = 0; i < count; ++i) jobs.push_back({sha256_hex(std::to_string(i)), "job " + std::to_string(i), {{"freqfold", std::to_string(i)}}});
  return jobs;
}

struct Bench {
  TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  JobQueue one{store, "one", 30}, two{store, "two", 30};
};

}  // namespace

TEST_CASE("jobs are handed out once each, in order, with what they are", "[jobs]") {
  Bench bench;
  bench.one.set_jobs("s", some_jobs(3));

  const auto a = bench.one.claim("s", 100), b = bench.two.claim("s", 100), c = bench.one.claim("s", 100), none = bench.two.claim("s", 100);

  REQUIRE((a && b && c));
  CHECK_FALSE(none);
  CHECK(a->label == "job 0");
  CHECK(b->label == "job 1");
  CHECK(c->flags == Json{{"freqfold", "2"}});
  CHECK(bench.one.counts("s").running == 3);
  CHECK_FALSE(bench.one.claim("another sweep", 100));
}

TEST_CASE("a job whose worker is silent is taken over, and the silent one's result is refused", "[jobs]") {
  Bench bench;
  bench.one.set_jobs("s", some_jobs(1));
  const auto job = bench.one.claim("s", 100);
  REQUIRE(job);
  CHECK_FALSE(bench.two.claim("s", 130));  // the lease holds to its last second
  bench.one.renew(125);
  CHECK_FALSE(bench.two.claim("s", 155));

  const auto taken = bench.two.claim("s", 156);

  REQUIRE(taken);
  const int64_t run = add_done(bench.store);
  CHECK_FALSE(bench.one.finish(job->key, run, 1));
  CHECK_FALSE(bench.one.release(job->key));
  CHECK(bench.two.finish(job->key, run, 2.5));
  const JobState state = bench.one.states("s").at(0);
  CHECK(state.status == JobStatus::done);
  CHECK(state.run_id == run);
  CHECK(state.attempts == 2);
  CHECK(state.seconds == 2.5);
}

TEST_CASE("done jobs stay done when a sweep is set again, also by another sweep; failed ones wait for retry", "[jobs]") {
  Bench bench;
  const std::vector<Job> jobs = some_jobs(3);
  bench.one.set_jobs("s", jobs);
  const int64_t run = add_done(bench.store);
  bench.one.claim("s", 1);
  bench.one.finish(jobs[0].key, run, 1);
  bench.one.claim("s", 1);
  bench.one.fail_job(jobs[1].key, "no space", 1);

  bench.one.set_jobs("t", {jobs[1], jobs[0]});
  bench.one.set_jobs("s", jobs);

  CHECK(bench.one.counts("s").done == 1);
  CHECK(bench.one.counts("s").failed == 1);
  CHECK(bench.one.states("t").at(0).error == "no space");
  CHECK(done_jobs(bench.store, {jobs[0].key, jobs[2].key}) == std::map<std::string, int64_t>{{jobs[0].key, run}});
  CHECK_FALSE(bench.two.claim("t", 9));
  CHECK(bench.two.retry_failed("t") == 1);
  CHECK(bench.two.claim("t", 9)->key == jobs[1].key);
  CHECK(bench.two.release(jobs[1].key));
  CHECK(bench.one.counts("t").pending == 1);
}

TEST_CASE("a store with jobs passes SQLite's own check", "[jobs]") {
  Bench bench;
  bench.one.set_jobs("s", some_jobs(3));
  bench.one.claim("s", 1);
  add_done(bench.store);
  Statement check(bench.store.database(), "PRAGMA integrity_check");
  REQUIRE(check.step());
  CHECK(check.text(0) == "ok");
}

TEST_CASE("removing a run makes its job one to be done again", "[jobs]") {
  Bench bench;
  const std::vector<Job> jobs = some_jobs(1);
  bench.one.set_jobs("s", jobs);
  bench.one.claim("s", 1);
  const int64_t run = add_done(bench.store);
  bench.one.finish(jobs[0].key, run, 1);

  bench.store.remove_run(run);
  bench.one.set_jobs("s", jobs);

  CHECK(bench.one.counts("s").pending == 1);
}

TEST_CASE("eight processes share a queue without losing or doubling a job", "[jobs]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";
  constexpr int kJobs = 200, kProcesses = 8;
  {
    Store store = Store::open(path);
    JobQueue(store, "parent", 60).set_jobs("s", some_jobs(kJobs));
  }
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t child = fork();
    if (child == 0) {
      Store store = Store::open(path);
      JobQueue queue(store, "child " + std::to_string(p), 60);
      while (const auto job = queue.claim("s", 1))
        if (!queue.fail_job(job->key, std::to_string(p), 0)) _exit(1);
      _exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int state = 0;
    waitpid(child, &state, 0);
    CHECK(state == 0);
  }
  Store store = Store::open(path);
  const std::vector<JobState> states = JobQueue(store, "parent", 60).states("s");
  REQUIRE(states.size() == kJobs);
  for (const JobState& state : states) {
    CHECK(state.status == JobStatus::failed);
    CHECK(state.attempts == 1);
  }
}

TEST_CASE("the views show the latest finished runs, the best of each cache size and the front", "[jobs][views]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store, {.label = "a", .kv_values = 96, .perplexity = 40});
  add_done(store, {.label = "b", .kv_values = 96, .perplexity = 35});
  add_done(store, {.label = "c", .kv_values = 192, .perplexity = 36});  // larger and worse than b
  const int64_t best = add_done(store, {.label = "d", .kv_values = 192, .perplexity = 30});
  add_done(store, {.label = "e", .kv_values = 288, .perplexity = 31});
  add_done(store, {.label = "cut", .kv_values = 48, .perplexity = 1, .ad_hoc_limit = true});
  const int64_t again = add_done(store, {.label = "d", .kv_values = 192, .perplexity = 29});
  const auto labels = [&](const char* view) {
    Statement read(store.database(), std::string("SELECT label FROM ") + view + " ORDER BY kv_values, label");
    std::string all;
    while (read.step()) all += read.text(0);
    return all;
  };

  CHECK(labels("zoo") == "abcde");
  CHECK(labels("best_per_budget") == "bde");
  CHECK(labels("pareto") == "bd");
  Statement read(store.database(), "SELECT run_id, ppl_mla FROM pareto WHERE label = 'd'");
  REQUIRE(read.step());
  CHECK(best != again);
  CHECK(read.integer(0) == again);
  CHECK(read.real(1) == 29);
}

TEST_CASE("a store of every earlier schema is brought forward with what it holds", "[jobs][migration]") {
  for (int version = 1; version < kSchemaVersion; ++version) {
    const TemporaryFolder folder;
    const fs::path path = folder / "runs.db";
    {
      Database old(path, Database::Mode::read_write_create);
      old.execute(read_text_file(golden("stores/schema_" + std::to_string(version) + ".sql")).c_str());
    }
    Store store = Store::open(path);
    INFO("schema " << version);
    CHECK(store.read_run(1).second.size() == 3);
    CHECK(store.answers(1).size() == (version < 2 ? 0 : 1));
    Statement read(store.database(), "SELECT count(*) FROM zoo");
    REQUIRE(read.step());
    CHECK(read.integer(0) == 1);
    JobQueue(store, "one", 30).set_jobs("s", some_jobs(2));
  }
}
