#include "experiments/program.h"

namespace mla {

void add_store_commands(CLI::App& app) {
  add_table_command(app);
  add_plot_command(app);
  add_report_command(app);
  add_runs_command(app);
  add_samples_command(app);
}

}  // namespace mla
