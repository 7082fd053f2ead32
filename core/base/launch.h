// What a launcher says of the processes that it started, through the environment.
#pragma once
#include <functional>
#include <string>

namespace mla {

struct Launch {
  int rank = 0, world = 1;  // of all processes
  int local_rank = 0;       // on this machine: which of its devices is this process's
  std::string address;      // where rank 0 listens
  int port = 0;
  bool agent_listens = false;  // the launcher itself listens there, and rank 0 is one of its clients
  int attempt = 0;             // of an elastic launcher that starts all anew
  bool many() const { return world > 1; }
};

// A variable of the environment; empty where it is not set.
using Environment = std::function<std::string(const char* name)>;

// torchrun's RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; else, inside a job step of Slurm, SLURM_PROCID, SLURM_STEP_NUM_TASKS (or
// SLURM_NTASKS), SLURM_LOCALID, the first host of SLURM_STEP_NODELIST (or SLURM_JOB_NODELIST) and a port made of SLURM_JOB_ID, where MASTER_ADDR
// and MASTER_PORT do not say otherwise; else one process alone. A batch script of Slurm is no step: it is one process, however many tasks its job
// may have. Throws UsageError naming the variable that is missing, no number, or out of range.
Launch read_launch(const Environment& environment);
Launch read_launch();  // of this process

// The first host of Slurm's list: "n[003-005,9],login" -> "n003". Throws UsageError for a list that is none.
std::string first_host(const std::string& nodes);

}  // namespace mla
