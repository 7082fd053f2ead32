// One entry per subcommand: declares its flags and what it calls. Callbacks throw; main maps errors to exit codes.
#pragma once
#include <CLI/CLI.hpp>

#include "core/base/names.h"

namespace mla {

void add_bench_command(CLI::App& app);
void add_run_command(CLI::App& app);
void add_convert_command(CLI::App& app);
void add_compare_command(CLI::App& app);
void add_doctor_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_export_command(CLI::App& app);
void add_export_model_command(CLI::App& app);
void add_generate_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_table_command(CLI::App& app);
void add_plot_command(CLI::App& app);
void add_report_command(CLI::App& app);
void add_runs_command(CLI::App& app);
void add_methods_command(CLI::App& app);
void add_sweep_command(CLI::App& app);
void add_samples_command(CLI::App& app);
void add_tasks_command(CLI::App& app);

// "--format" with its choices.
inline void add_format_flag(CLI::App& command, std::string& format, const std::vector<std::string>& choices) {
  command.add_option("--format", format, join(choices, " | ") + " [" + format + "]")->check(CLI::IsMember(choices));
}

// Text that closes a command's help.
inline void add_examples(CLI::App& command, const char* examples) { command.footer(std::string("Examples:\n") + examples); }

}  // namespace mla
