// The processes of one command, where torchrun or srun started several: docs/cluster.md.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>

#include "core/distributed/process_group.h"

namespace mla {

struct ProcessFlags {
  int64_t timeout_seconds = 600;
};
void add_process_flags(CLI::App& command, ProcessFlags& flags);

// Null for a process alone. Of all but the first, status lines are silenced. Throws as read_launch and ProcessGroup::join do.
std::unique_ptr<ProcessGroup> join_processes(const ProcessFlags& flags);

// Of a command that several processes would do twice: UsageError where a launcher started them.
void require_one_process(const char* command);

}  // namespace mla
