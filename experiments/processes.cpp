#include "experiments/processes.h"

#include "core/base/error.h"
#include "core/base/progress.h"

namespace mla {

void add_process_flags(CLI::App& command, ProcessFlags& flags) {
  command.add_option("--rank-timeout", flags.timeout_seconds, "Seconds after which a silent process of torchrun or srun is given up [600]")->check(CLI::Range(1, 1000000))->group("Several processes");
}

std::unique_ptr<ProcessGroup> join_processes(const ProcessFlags& flags) {
  const Launch launch = read_launch();
  if (!launch.many()) return nullptr;
  if (launch.rank == 0) status("Joining", std::to_string(launch.world) + " processes at " + launch.address + ':' + std::to_string(launch.port));
  else set_verbosity(Verbosity::quiet);
  return ProcessGroup::join(launch, std::chrono::seconds(flags.timeout_seconds));
}

void require_one_process(const char* command) {
  const Launch launch = read_launch();
  if (launch.many())
    fail<UsageError>(command, "wanted one process, got ", launch.world, " by the environment's WORLD_SIZE or Slurm step; `eval` is divided over processes, `sweep` has workers and job arrays");
}

}  // namespace mla
