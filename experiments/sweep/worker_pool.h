// Runs the jobs of a sweep as processes of their own, so many at a time, and keeps the queue in step with them.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "results/job_queue.h"

namespace mla {

struct PoolOptions {
  int workers = 1;
  int64_t lease_seconds = 60;  // renewed every third of it; a worker silent for longer loses its jobs
  std::string program = "/proc/self/exe";  // this program as it was started, even where a newer build has taken its place
  std::function<std::vector<std::string>(const Job&)> command;  // its words, name first; its stdout is JSON with run_id
  std::function<void(const Job&, JobStatus, const std::string& message)> report;  // after each job; message: an error, or seconds
};

struct PoolOutcome {
  int64_t done = 0, failed = 0;
  bool interrupted = false;
};

// "host:process:start", which no other live worker has.
std::string worker_name();

// Claims and runs jobs until none is left, those that other workers hold included: theirs are taken over when they fall silent (at once
// when their process on this machine is gone). On Ctrl-C the children are asked to stop, their jobs are given back, and the outcome
// says so. A job that fails is recorded with its last error and the rest goes on. Throws StoreError, ResourceError (no process).
PoolOutcome run_jobs(Store& store, const std::string& sweep, const PoolOptions& options);

}  // namespace mla
