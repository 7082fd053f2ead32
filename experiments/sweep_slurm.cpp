#include "experiments/sweep_slurm.h"

#include <iostream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/base/progress.h"
#include "core/base/shell.h"
#include "experiments/sweep/slurm.h"
#include "experiments/sweep/worker_pool.h"
#include "results/run_admin.h"

namespace mla {
namespace {

namespace fs = std::filesystem;

// What the arrays have measured since the last call. A broken database keeps no other away.
void gather(const SweepFlagSet& flags, const std::string& sweep, Store& store) {
  MergeReport sum;
  for (const fs::path& path : array_stores(flags.store, sweep)) {
    try {
      const MergeReport report = merge_runs(store, Store::open_read_only(path));
      sum.added += report.added;
      sum.jobs += report.jobs;
    } catch (const Error& error) {
      warn(path.string() + " is left out: " + error.what());
    }
  }
  if (sum.added > 0 || sum.jobs > 0) status("Merged", std::to_string(sum.added) + " runs and " + std::to_string(sum.jobs) + " configurations of earlier arrays");
}

// In the arrays' databases too, or the next call would bring the old failures in again.
void retry(const SweepFlagSet& flags, const std::string& sweep, JobQueue& queue) {
  queue.retry_failed(sweep);
  for (const fs::path& path : array_stores(flags.store, sweep)) {
    Store store = Store::open(path);
    JobQueue(store, worker_name(), flags.lease_seconds).retry_failed(sweep);
  }
}

std::vector<std::string> task_flags(const SweepFlagSet& flags, const SweepPlan& plan) {
  std::vector<std::string> words{"--threads", std::to_string(plan.threads)};
  for (const std::string& each : flags.set) words.insert(words.end(), {"--set", each});
  if (!flags.data_root.empty()) words.insert(words.end(), {"--data-root", flags.data_root});
  return words;
}

}  // namespace

void sweep_on_slurm(const SweepFlagSet& flags, const SweepPlan& plan) {
  if (flags.threads == 0) fail<UsageError>("sweep", "wanted --threads N with --launcher slurm: it becomes each task's cores and is part of a run's identity");
  const std::string& name = plan.file.name;
  if (!flags.no_submit)
    if (const std::vector<std::string> queued = arrays_in_queue(flags.store, name); !queued.empty())
      fail<ConfigError>("sweep", "wanted no array of ", name, " in the queue, found job ", join(queued, ", "), "; let it end, or scancel it");
  Store store = Store::open(flags.store);
  JobQueue queue(store, worker_name(), flags.lease_seconds);
  std::vector<Job> jobs;
  for (const PlannedJob& planned : plan.jobs) jobs.push_back(planned.job);
  queue.set_jobs(name, jobs);
  gather(flags, name, store);
  if (flags.retry_failed) retry(flags, name, queue);

  SlurmArray array{name, flags.store, fs::read_symlink("/proc/self/exe").string(), read_text_file(find_sweep(flags.file)), task_flags(flags, plan), {}};
  for (const JobState& state : queue.states(name, JobStatus::pending)) array.jobs.push_back(state.job.key);
  array.cpus = plan.threads;
  array.running = flags.array_running;
  array.options = flags.slurm;
  const JobCounts counts = queue.counts(name);
  std::cout << name << ": " << counts.done << " of " << counts.all() << " done, " << counts.failed << " failed, " << array.jobs.size() << " to submit\n";
  if (array.jobs.empty()) return;
  const fs::path folder = write_array(array);
  if (flags.no_submit) {
    std::cout << "Not submitted: sbatch " << shell_word((folder / "array.sh").string()) << ", then with its id\n  sbatch --dependency=afterany:ID "
              << shell_word((folder / "merge.sh").string()) << '\n';
    return;
  }
  Submitted submitted;
  try {
    submitted = submit_array(folder);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    throw;
  }
  std::cout << "Submitted array " << submitted.array << " and merge job " << submitted.merge << "; what they print: " << (folder / "logs").string()
            << "\nSee `squeue --jobs=" << submitted.array << "`; when it has ended, " << flags.store
            << " holds the runs, and the same command submits what is left\n";
}

}  // namespace mla
