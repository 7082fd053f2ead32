// A sweep file against the recipes, the models and the texts that are here: what would be run, before anything is.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "experiments/pipeline.h"
#include "experiments/sweep/sweep_file.h"
#include "results/job_queue.h"

namespace mla {

struct SweepFlagSet {
  std::string file, store = "runs.db", data_root, launcher = "local", format = "text";
  std::vector<std::string> set;   // key=values
  std::vector<std::string> jobs;  // beginnings of keys: only these configurations; empty: all
  std::vector<std::string> slurm;  // options for sbatch
  int array_running = 0;           // Slurm tasks at a time; 0: as many as fit
  bool no_submit = false;
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

// The file itself, or that of experiments/configs with this name. Throws CheckpointError naming the known ones.
std::filesystem::path find_sweep(const std::string& name);

// `mlaforge run` with the job's flags, as a worker starts it.
std::vector<std::string> run_command(const SweepFlagSet& flags, const Job& job);

}  // namespace mla
