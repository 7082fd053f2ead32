// The store as pages for a browser.
#include <iostream>

#include "core/base/progress.h"
#include "experiments/commands.h"
#include "plots/report.h"

namespace mla {
namespace {

struct ReportFlags {
  std::string store = "runs.db", out = "report";
};

void write(const ReportFlags& flags) {
  const ReportSummary summary = write_report(Store::open_read_only(flags.store), flags.out);
  if (summary.without_gnuplot) warn("gnuplot is not installed, so the report has its interactive plot only; the package is gnuplot-nox");
  std::cout << (std::filesystem::path(flags.out) / "index.html").string() << ": " << summary.runs << " runs, " << summary.figures << " figures\n";
}

}  // namespace

void add_report_command(CLI::App& app) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App* command = app.add_subcommand("report", "Write the run database as HTML pages: runs, an interactive plot, figures, a page per run");
  command->add_option("--store", flags->store, "Run database [runs.db]");
  command->add_option("--out", flags->out, "Folder to write: a new one, or an earlier report, which is replaced [report]");
  add_examples(*command,
               "  mlaforge report --store runs.db --out report\n"
               "  mlaforge report --store merged.db --out public/report\n");
  command->callback([flags] { write(*flags); });
}

}  // namespace mla
