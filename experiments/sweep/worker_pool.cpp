#include "experiments/sweep/worker_pool.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <thread>

#include "core/base/error.h"
#include "core/base/process.h"
#include "experiments/sweep/child_process.h"

namespace mla {
namespace {

constexpr int kInterruptedCode = 130;
constexpr auto kPoll = std::chrono::milliseconds(50);

int64_t now() { return static_cast<int64_t>(std::time(nullptr)); }

// The last line that begins with "error: ", without it; else the last line.
std::string last_error(const std::string& err) {
  std::string last, error;
  for (std::size_t from = 0; from < err.size();) {
    const std::size_t end = std::min(err.find('\n', from), err.size());
    const std::string line = err.substr(from, end - from);
    if (line.starts_with("error: ")) error = line.substr(7);
    if (!line.empty()) last = line;
    from = end + 1;
  }
  return error.empty() ? last : error;
}

std::string failure_of(const ChildProcess& child) {
  const std::string error = last_error(child.err());
  if (child.code() <= 128) return error.empty() ? "ended with exit code " + std::to_string(child.code()) + " and no message" : error;
  const int signal = child.code() - 128;
  return "killed by signal " + std::to_string(signal) + (signal == SIGKILL ? " (out of memory?)" : "") + (error.empty() ? "" : ", last said: " + error);
}

// Owner "host:process:start" of a process on this machine that is gone.
bool is_gone(const std::string& owner) {
  const std::string here = host_name() + ':';
  if (!owner.starts_with(here)) return false;
  const long process = std::strtol(owner.c_str() + here.size(), nullptr, 10);
  return process > 0 && kill(static_cast<pid_t>(process), 0) != 0 && errno == ESRCH;
}

class Pool {
 public:
  Pool(Store& store, const std::string& sweep, const PoolOptions& options)
      : store_(store), queue_(store, worker_name(), options.lease_seconds), sweep_(sweep), options_(options) {}

  PoolOutcome run() {
    bool told = false;
    for (;;) {
      if (interrupted() && !told) {
        told = outcome_.interrupted = true;
        for (const Running& each : running_) each.child.interrupt();
      }
      if (!told) start_more();
      collect();
      if (running_.empty() && (told || queue_.counts(sweep_).running + queue_.counts(sweep_).pending == 0)) return outcome_;
      if (!running_.empty() && wall_seconds() - renewed_ > static_cast<double>(options_.lease_seconds) / 3) renew();
      std::this_thread::sleep_for(running_.empty() ? 10 * kPoll : kPoll);  // without a job: another worker holds what is left
    }
  }

 private:
  struct Running {
    Job job;
    ChildProcess child;
    double started;
  };

  void start_more() {
    while (static_cast<int>(running_.size()) < options_.workers) {
      free_orphans();
      std::optional<Job> job = queue_.claim(sweep_, now());
      if (!job) return;
      ChildProcess child(options_.program, options_.command(*job));
      running_.push_back({std::move(*job), std::move(child), wall_seconds()});
      renew();
    }
  }

  // A worker of this machine that was killed cannot renew: there is no need to wait for its lease to end.
  void free_orphans() {
    for (const JobState& state : queue_.states(sweep_, JobStatus::running))
      if (is_gone(state.owner)) JobQueue(store_, state.owner, options_.lease_seconds).release(state.job.key);
  }

  void renew() {
    queue_.renew(now());
    renewed_ = wall_seconds();
  }

  void collect() {
    for (std::size_t i = 0; i < running_.size();) {
      if (!running_[i].child.ended()) {
        ++i;
        continue;
      }
      settle(running_[i]);
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  void settle(const Running& ended) {
    const double seconds = wall_seconds() - ended.started;
    if (ended.child.code() == kInterruptedCode || (outcome_.interrupted && ended.child.code() != 0)) {
      queue_.release(ended.job.key);
      outcome_.interrupted = true;
      return;
    }
    std::string error = ended.child.code() == 0 ? "" : failure_of(ended.child);
    if (error.empty()) {
      const Json result = Json::parse(ended.child.out(), nullptr, false);
      if (result.is_object() && result.contains("run_id") && result.at("run_id").is_number_integer()) {
        queue_.finish(ended.job.key, result.at("run_id").get<int64_t>(), seconds);
        ++outcome_.done;
        char text[32];
        std::snprintf(text, sizeof text, "%.1f s", seconds);
        options_.report(ended.job, JobStatus::done, text);
        return;
      }
      error = "ended well but named no run: wanted JSON with run_id on its output";
    }
    queue_.fail_job(ended.job.key, error, seconds);
    ++outcome_.failed;
    options_.report(ended.job, JobStatus::failed, error);
  }

  Store& store_;
  JobQueue queue_;
  std::string sweep_;
  const PoolOptions& options_;
  std::vector<Running> running_;
  PoolOutcome outcome_;
  double renewed_ = wall_seconds();
};

}  // namespace

std::string worker_name() { return host_name() + ':' + std::to_string(getpid()) + ':' + std::to_string(now()); }

PoolOutcome run_jobs(Store& store, const std::string& sweep, const PoolOptions& options) { return Pool(store, sweep, options).run(); }

}  // namespace mla
