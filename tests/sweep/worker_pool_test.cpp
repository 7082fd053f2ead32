// The pool with shell scripts in place of the program.
#include "experiments/sweep/worker_pool.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "core/base/process.h"
#include "core/base/sha256.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

std::vector<Job> jobs_of(const std::vector<std::string>& scripts) {
  std::vector<Job> jobs;
  for (std::size_t i = 0; i < scripts.size(); ++i) jobs.push_back({sha256_hex(std::to_string(i)), scripts[i], {{"script", scripts[i]}}});
  return jobs;
}

PoolOptions shell_options(std::vector<std::string>* reports = nullptr) {
  PoolOptions options;
  options.workers = 2;
  options.program = "/bin/sh";
  options.command = [](const Job& job) { return std::vector<std::string>{"sh", "-c", job.flags.at("script")}; };
  options.report = [reports](const Job& job, JobStatus status, const std::string& message) {
    if (reports) reports->push_back(job.label + ": " + to_string(status) + ": " + message);
  };
  return options;
}

}  // namespace

TEST_CASE("jobs run, what fails is recorded with its error, and the rest goes on", "[sweep][pool]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const std::string run = std::to_string(add_done(store));
  JobQueue queue(store, "test", 30);
  queue.set_jobs("s", jobs_of({"echo '{\"run_id\": " + run + "}'", "echo progress >&2; echo 'error: no such file' >&2; exit 3", "kill -9 $$", "echo text",
                               "echo '{\"run_id\": " + run + "}'"}));

  const PoolOutcome outcome = run_jobs(store, "s", shell_options());

  CHECK(outcome.done == 2);
  CHECK(outcome.failed == 3);
  CHECK_FALSE(outcome.interrupted);
  const std::vector<JobState> states = queue.states("s");
  CHECK(states[0].run_id == std::stoll(run));
  CHECK(states[1].error == "no such file");
  CHECK(states[2].error == "killed by signal 9 (out of memory?)");
  CHECK(states[3].error.find("run_id") != std::string::npos);
  CHECK(states[4].status == JobStatus::done);
}

TEST_CASE("a job that was interrupted waits to be run again", "[sweep][pool]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  JobQueue queue(store, "test", 30);
  queue.set_jobs("s", jobs_of({"exit 130"}));
  const pid_t child = fork();  // the flag of an interrupt stays set in a process
  if (child == 0) {
    Store own = Store::open(folder / "runs.db");
    request_interrupt();
    _exit(run_jobs(own, "s", shell_options()).interrupted ? 0 : 1);
  }
  int state = 0;
  waitpid(child, &state, 0);
  CHECK(state == 0);
  CHECK(queue.counts("s").pending == 1);
}

TEST_CASE("what a killed worker of this machine held is taken over at once, and its child stops", "[sweep][pool]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";
  Store store = Store::open(path);
  const std::string run = std::to_string(add_done(store)), mark = (folder / "mark").string();
  JobQueue queue(store, "test", 600);
  // The first to come waits for a signal, the next one finds the mark and ends well.
  queue.set_jobs("s", jobs_of({"if [ -e " + mark + " ]; then echo '{\"run_id\": " + run + "}'; else trap 'echo stopped >> " + mark + "; exit 130' INT; echo > " + mark +
                               "; while :; do sleep 0.05; done; fi"}));
  PoolOptions options = shell_options();
  options.lease_seconds = 600;
  const pid_t child = fork();
  if (child == 0) {
    Store own = Store::open(path);
    run_jobs(own, "s", options);
    _exit(0);
  }
  for (int i = 0; i < 200 && !fs::exists(mark); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  REQUIRE(fs::exists(mark));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);

  const PoolOutcome outcome = run_jobs(store, "s", options);

  CHECK(outcome.done == 1);
  CHECK(queue.states("s").at(0).attempts == 2);
  std::string text;
  for (int i = 0; i < 100 && text.find("stopped") == std::string::npos; ++i) {
    std::ifstream file(mark);
    std::getline(file, text, '\0');
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  CHECK(text.find("stopped") != std::string::npos);
}

TEST_CASE("two pools share a sweep and wait for each other's last job", "[sweep][pool]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";
  Store store = Store::open(path);
  const std::string run = std::to_string(add_done(store));
  std::vector<std::string> scripts(12, "sleep 0.05; echo '{\"run_id\": " + run + "}'");
  for (std::size_t i = 0; i < scripts.size(); ++i) scripts[i] += " # " + std::to_string(i);
  JobQueue(store, "test", 60).set_jobs("s", jobs_of(scripts));
  const pid_t child = fork();
  if (child == 0) {
    Store own = Store::open(path);
    run_jobs(own, "s", shell_options());
    _exit(JobQueue(own, "x", 1).counts("s").done == 12 ? 0 : 1);
  }
  run_jobs(store, "s", shell_options());
  CHECK(JobQueue(store, "x", 1).counts("s").done == 12);
  for (const JobState& state : JobQueue(store, "x", 1).states("s")) CHECK(state.attempts == 1);
  int state = 0;
  waitpid(child, &state, 0);
  CHECK(state == 0);
}
