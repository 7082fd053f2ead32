// A sweep file against the recipes, the models and the texts that are here: what would be run, before anything is.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "experiments/pipeline.h"
#include "experiments/sweep/sweep_file.h"
#include "results/job_queue.h"

namespace mla {

struct SweepFlagSet {
  std::string file, store = "runs.db", data_root, launcher = "local", format = "text";
  std::vector<std::string> set;  // key=values
  int workers = 1, threads = 0;
  int64_t lease_seconds = 60;
  bool dry_run = false, retry_failed = false;
};

struct PlannedJob {
  Job job;
  RunRequest request;
};

struct SweepPlan {
  SweepFile file;
  std::vector<PlannedJob> jobs;
  std::vector<std::string> impossible;  // "transmla ...: why", of a file that skips them
  int threads = 1;  // of each worker
};

// Reads the file (or a name of experiments/configs), checks every configuration against the recipe's options and the model's sizes,
// and names each by what decides its result: flags, contents of its files, threads, versions of the stages. No weights are read.
// Throws ConfigError listing what does not fit, CheckpointError for what is not there.
SweepPlan plan_sweep(const SweepFlagSet& flags);

// `mlaforge run` with the job's flags, as a worker starts it.
std::vector<std::string> run_command(const SweepFlagSet& flags, const Job& job);

}  // namespace mla
