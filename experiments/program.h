// What every executable of ours does: collects options, calls one command, maps errors to exit codes.
#pragma once
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "experiments/commands.h"

namespace mla {

enum ExitCode { kOk = 0, kFailed = 1, kUsage = 2, kBadInput = 3, kResource = 4, kInterrupted = 130 };

struct Failure {
  ExitCode code;
  std::string message;
};

struct Program {
  std::function<void(CLI::App&)> add_commands;
  std::function<std::optional<Failure>(const std::exception&)> explain;  // of libraries' exceptions; optional
  std::function<std::vector<std::string>(const std::vector<std::string>&)> spell;  // the command line, program's name first, as the parser wants it; optional
};

// Returns the exit code; every error becomes one line on stderr.
int run_program(int argc, char** argv, const Program& program);

// Words of the command line as main got them.
std::vector<std::string>& program_arguments();

// The commands that read a store and no model: table, plot, report, runs, samples.
void add_store_commands(CLI::App& app);

}  // namespace mla
