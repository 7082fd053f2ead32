// A sweep as a Slurm job array: every task runs its configurations into a database of its own, and a job after the array joins them.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mla {

struct SlurmArray {
  std::string name;                   // of the sweep, for the queue's listing
  std::filesystem::path store;        // where the merge job brings the finished runs
  std::string program;                // absolute path of mlaforge, as the nodes see it
  std::string sweep;                  // text of the sweep file, kept beside the array
  std::vector<std::string> flags;     // of `sweep`, but for --job and --store
  std::vector<std::string> jobs;      // keys of the configurations to run
  int cpus = 1;                       // of each task
  int running = 0;                    // tasks at a time (Slurm's throttle); 0: as many as fit
  int64_t most_tasks = 1000;          // more jobs than that share tasks; Slurm's own MaxArraySize is 1001 unless raised
  std::vector<std::string> options;   // further sbatch options, "--partition=main"; they go before ours
};

// STORE.slurm, where the arrays of a store lie: one folder SWEEP/NUMBER each, with sweep.json, array.sh, merge.sh, tasks, logs/
// and stores/.
std::filesystem::path slurm_folder(const std::filesystem::path& store);
// The databases that the arrays of this sweep wrote so far, in order.
std::vector<std::filesystem::path> array_stores(const std::filesystem::path& store, const std::string& sweep);

// Writes the folder of a new array, whole or not at all, and returns it. Throws ConfigError for a name or path that sbatch's headers
// cannot hold, for no job at all, and ResourceError.
std::filesystem::path write_array(const SlurmArray& array);

struct Submitted {
  std::string array, merge;  // job ids
};
// Gives array.sh to sbatch, then merge.sh to run after it however it ends, and notes both ids in the folder. Throws ResourceError with
// Slurm's own words; then nothing is left in the queue.
Submitted submit_array(const std::filesystem::path& folder);

// Ids of this sweep's arrays that Slurm still holds.
std::vector<std::string> arrays_in_queue(const std::filesystem::path& store, const std::string& sweep);

}  // namespace mla
