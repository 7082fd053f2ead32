#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "core/base/shell.h"
#include "experiments/commands.h"
#include "experiments/data_root.h"
#include "experiments/doctor.h"
#include "experiments/sweep/worker_pool.h"
#include "experiments/sweep_plan.h"
#include "experiments/sweep_slurm.h"
#include "results/run_costs.h"

namespace mla {
namespace {

namespace fs = std::filesystem;

std::vector<Job> jobs_of(const SweepPlan& plan) {
  std::vector<Job> jobs;
  for (const PlannedJob& planned : plan.jobs) jobs.push_back(planned.job);
  return jobs;
}

// What the store knows of the plan's jobs, without writing to it.
std::map<std::string, int64_t> known_runs(const SweepFlagSet& flags, const SweepPlan& plan) {
  if (!fs::exists(flags.store)) return {};
  std::vector<std::string> keys;
  for (const PlannedJob& planned : plan.jobs) keys.push_back(planned.job.key);
  return done_jobs(Store::open_read_only(flags.store), keys);
}

// Measured costs of like runs, summed over what is to be run.
struct Estimate {
  int64_t known = 0, unknown = 0;  // jobs
  double seconds = 0, largest_mb = 0;
};

// The text and the tasks of a configuration, each of which is a run of its own.
std::vector<std::string> measured_on(const RunRequest& request) {
  std::vector<std::string> names;
  if (!request.corpus.corpus.empty()) names.push_back(find_text(request.corpus.corpus, TextRole::corpus, request.model.data_root).name);
  for (const std::string& task : request.tasks.tasks) names.push_back(find_task(task).name);
  return names;
}

Estimate estimate(const SweepFlagSet& flags, const SweepPlan& plan, const std::map<std::string, int64_t>& done) {
  Estimate sum;
  if (!fs::exists(flags.store)) {
    sum.unknown = static_cast<int64_t>(plan.jobs.size());
    return sum;
  }
  const Store store = Store::open_read_only(flags.store);
  std::map<std::pair<std::string, std::string>, std::map<std::string, RunCost>> costs;
  for (const PlannedJob& planned : plan.jobs) {
    if (done.count(planned.job.key) != 0) continue;
    const std::string model = display_name(planned.request.model.model);
    RunCost whole;
    bool known = true;
    for (const std::string& corpus : measured_on(planned.request)) {
      const auto [of, fresh] = costs.try_emplace({model, corpus});
      if (fresh) of->second = run_costs(store, model, corpus, plan.threads);
      const auto cost = of->second.find(planned.request.method.method);
      known = known && cost != of->second.end();
      if (!known) break;
      whole.seconds += cost->second.seconds;
      whole.peak_rss_mb = std::max(whole.peak_rss_mb, cost->second.peak_rss_mb);
    }
    ++(known ? sum.known : sum.unknown);
    if (!known) continue;
    sum.seconds += whole.seconds;
    sum.largest_mb = std::max(sum.largest_mb, whole.peak_rss_mb);
  }
  return sum;
}

void print_estimate(const Estimate& estimate, int workers) {
  if (estimate.known > 0) {
    std::printf("Time: about %.0f min for %lld of them with %d worker%s, by the mean of like runs in the store\n", estimate.seconds / 60 / workers,
                static_cast<long long>(estimate.known), workers, workers == 1 ? "" : "s");
    std::printf("Memory: up to %.0f MB a worker by like runs, %.0f MB available\n", estimate.largest_mb, memory_mib("MemAvailable:"));
  }
  if (estimate.unknown > 0)
    std::printf("Time and memory of %lld: not known, no like run (model, text, method, threads) is in the store\n", static_cast<long long>(estimate.unknown));
}

void print_plan(const SweepFlagSet& flags, const SweepPlan& plan) {
  const std::map<std::string, int64_t> done = known_runs(flags, plan);
  const Estimate cost = estimate(flags, plan, done);
  if (flags.format == "json") {
    Json jobs = Json::array();
    for (const PlannedJob& planned : plan.jobs) {
      const auto run = done.find(planned.job.key);
      jobs.push_back({{"key", planned.job.key}, {"label", planned.job.label}, {"flags", planned.job.flags}, {"run_id", run == done.end() ? Json() : Json(run->second)}});
    }
    std::cout << Json{{"sweep", plan.file.name}, {"jobs", jobs}, {"excluded", plan.file.excluded}, {"repeated", plan.file.repeated}, {"impossible", plan.impossible},
                      {"threads", plan.threads}, {"estimated_seconds", cost.known > 0 ? Json(cost.seconds / flags.workers) : Json()}, {"not_estimated", cost.unknown}}
                     .dump(2)
              << '\n';
    return;
  }
  std::set<Json> calibrations;
  for (const PlannedJob& planned : plan.jobs) {
    const auto run = done.find(planned.job.key);
    std::cout << (run == done.end() ? "  to run     " : "  run " + std::to_string(run->second) + std::string(7 - std::min<std::size_t>(6, std::to_string(run->second).size()), ' '))
              << planned.job.label << "   " << shell_line(run_command(flags, planned.job)) << '\n';
    const CalibrationFlags& calibration = planned.request.calibration;
    if (run == done.end()) calibrations.insert(Json::array({planned.request.model.model, calibration.dataset, calibration.ids, calibration.samples.samples, calibration.samples.seed}));
  }
  for (const std::string& each : plan.impossible) std::cout << "  impossible " << each << '\n';
  std::cout << plan.file.name << ": " << plan.jobs.size() << " configurations, " << done.size() << " in the store, " << plan.jobs.size() - done.size() << " to run on "
            << calibrations.size() << " set" << (calibrations.size() == 1 ? "" : "s") << " of calibration samples; excluded " << plan.file.excluded << ", repeated "
            << plan.file.repeated << ", impossible " << plan.impossible.size() << '\n';
  print_estimate(cost, flags.workers);
}

void print_commands(const SweepFlagSet& flags, const SweepPlan& plan) {
  const std::map<std::string, int64_t> done = known_runs(flags, plan);
  for (const PlannedJob& planned : plan.jobs) {
    if (done.count(planned.job.key) != 0) continue;
    std::vector<std::string> words = run_command(flags, planned.job);
    words.insert(words.begin(), "mlaforge");
    std::cout << shell_line(words) << '\n';
  }
}

std::vector<std::string> worker_command(const SweepFlagSet& flags, const Job& job) {
  std::vector<std::string> words = run_command(flags, job);
  words.insert(words.begin(), "mlaforge");
  for (const char* word : {"--format", "json", "--quiet"}) words.emplace_back(word);
  return words;
}

void run_locally(const SweepFlagSet& flags, const SweepPlan& plan) {
  require_writable_store(flags.store);
  Store store = Store::open(flags.store);
  JobQueue queue(store, worker_name(), flags.lease_seconds);
  queue.set_jobs(plan.file.name, jobs_of(plan));
  if (flags.retry_failed) queue.retry_failed(plan.file.name);
  const JobCounts before = queue.counts(plan.file.name);
  int64_t ended = before.done + before.failed;
  PoolOptions options;
  options.workers = flags.workers;
  options.lease_seconds = flags.lease_seconds;
  options.command = [&](const Job& job) { return worker_command(flags, job); };
  options.report = [&](const Job& job, JobStatus state, const std::string& message) {
    const std::string line = "[" + std::to_string(++ended) + "/" + std::to_string(before.all()) + "] " + job.label + ": " + message;
    if (state == JobStatus::failed) warn(line);
    else status("Measured", line);
  };
  const PoolOutcome outcome = run_jobs(store, plan.file.name, options);
  const JobCounts after = queue.counts(plan.file.name);
  std::cout << plan.file.name << ": " << after.done << " of " << after.all() << " done (" << after.done - before.done << " now), " << after.failed << " failed, "
            << after.pending + after.running << " left; impossible " << plan.impossible.size() << '\n';
  for (const JobState& job : queue.states(plan.file.name))
    if (job.status == JobStatus::failed) std::cout << "  failed " << job.job.label << ": " << job.error << '\n';
  if (outcome.interrupted) throw_if_interrupted();
  if (after.failed > 0)
    fail<Error>("sweep", after.failed, " configuration", after.failed == 1 ? "" : "s", " failed; `mlaforge sweep ", flags.file, " --store ", flags.store, " --retry-failed` tries again");
}

void sweep(const SweepFlagSet& flags) {
  const SweepPlan plan = plan_sweep(flags);
  if (flags.dry_run) print_plan(flags, plan);
  else if (flags.launcher == "print") print_commands(flags, plan);
  else if (flags.launcher == "slurm") sweep_on_slurm(flags, plan);
  else run_locally(flags, plan);
}

}  // namespace

void add_sweep_command(CLI::App& app) {
  auto flags = std::make_shared<SweepFlagSet>();
  CLI::App* command = app.add_subcommand("sweep", "Run every configuration of an experiment file that the store does not hold yet");
  command->add_option("file", flags->file, "Experiment file (docs/sweeps.md), or a name of experiments/configs")->required();
  command->add_option("--store", flags->store, "Run database, made when it is not there [runs.db]");
  command->add_option("--workers", flags->workers, "Configurations at a time, each in a process of its own [1]")->check(CLI::Range(1, 1024));
  command->add_option("--threads", flags->threads, "CPU threads of each; part of a run's identity [cores / workers]")->check(CLI::Range(0, 4096));
  command->add_option("--data-root", flags->data_root, "Folder of the named texts [$MLAFORGE_DATA, else ../shared/data]");
  command->add_option("--set", flags->set, "KEY=VALUES in place of what the file says; may be repeated")->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--dry-run", flags->dry_run, "Print what would be run, what the store has, estimated time and memory");
  command->add_flag("--retry-failed", flags->retry_failed, "Run what failed before once more");
  command->add_option("--lease", flags->lease_seconds, "Seconds after which a silent worker's configuration is taken over [60]")->check(CLI::Range(3, 86400));
  command->add_option("--job", flags->jobs, "Only the configuration whose key begins so; may be repeated [all]")->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--launcher", flags->launcher, "local; slurm: a job array (docs/cluster.md); print: the commands, for another scheduler [local]")
      ->check(CLI::IsMember({"local", "slurm", "print"}));
  command->add_option("--slurm", flags->slurm, "An option for sbatch, as in --slurm=--partition=main; may be repeated")->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--array-running", flags->array_running, "Slurm tasks at a time [as many as fit]")->check(CLI::Range(0, 100000));
  command->add_flag("--no-submit", flags->no_submit, "Write the array's files and submit nothing");
  add_format_flag(*command, flags->format, {"text", "json"});
  add_examples(*command,
               "  mlaforge sweep smollm2_quick --dry-run\n"
               "  mlaforge sweep smollm2_quick --store runs.db --workers 2\n"
               "  mlaforge sweep my_sweep.json --set model=model.gguf --set freqfold=1-8*2 --store runs.db\n"
               "  mlaforge sweep my_sweep.json --launcher slurm --threads 8 --slurm=--time=02:00:00 --store runs.db\n"
               "  mlaforge sweep my_sweep.json --launcher print > jobs.txt\n");
  command->callback([flags] { sweep(*flags); });
}

}  // namespace mla
