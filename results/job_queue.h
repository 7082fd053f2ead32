// The jobs of sweeps: what is to be run, by whom, and what came of it. Several processes share one queue.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "results/store.h"

namespace mla {

struct Job {
  std::string key;    // 64 hex digits: what decides the result, so that equal jobs of two sweeps are one
  std::string label;  // for people
  Json flags;         // as results stores them: an object of texts
};

enum class JobStatus { pending, running, done, failed };
const char* to_string(JobStatus status);

struct JobState {
  Job job;
  JobStatus status = JobStatus::pending;
  std::string owner, error;  // of a running, a failed one
  int64_t attempts = 0, lease_until = 0;
  std::optional<int64_t> run_id;  // of a done one
  double seconds = 0;
};

struct JobCounts {
  int64_t pending = 0, running = 0, done = 0, failed = 0;
  int64_t all() const { return pending + running + done + failed; }
};

// One worker's view. Times are seconds of any clock that all workers share. Every call is one transaction.
class JobQueue {
 public:
  // `owner` must differ between live workers: host, process and a number.
  JobQueue(Store& store, std::string owner, int64_t lease_seconds);

  // The sweep's jobs become these, in this order. What is known of a job already is kept: a done one stays done.
  void set_jobs(const std::string& sweep, const std::vector<Job>& jobs);
  // The first job that is pending, or whose worker has not renewed its lease: it is this worker's until the lease ends.
  std::optional<Job> claim(const std::string& sweep, int64_t now);
  void renew(int64_t now);  // all that this worker holds
  // Each answers false, and changes nothing, where the lease was lost to another worker.
  bool finish(const std::string& key, int64_t run_id, double seconds);
  bool fail_job(const std::string& key, const std::string& error, double seconds);
  bool release(const std::string& key);  // back to pending: it was interrupted
  int64_t retry_failed(const std::string& sweep);  // makes failed ones pending; how many

  JobCounts counts(const std::string& sweep) const;
  std::vector<JobState> states(const std::string& sweep, std::optional<JobStatus> only = std::nullopt) const;  // in order

 private:
  bool end(const std::string& key, JobStatus status, std::optional<int64_t> run_id, const std::optional<std::string>& error, double seconds);

  Store& store_;
  std::string owner_;
  int64_t lease_seconds_;
};

// The runs of those of the jobs that are done, by key; none in a store of a schema without jobs. Reads only.
std::map<std::string, int64_t> done_jobs(const Store& store, const std::vector<std::string>& keys);

}  // namespace mla
