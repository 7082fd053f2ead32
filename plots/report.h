// The store as pages for a browser: DIR/index.html with every run and an interactive plot, DIR/runs/ID.html for each.
#pragma once
#include <filesystem>

#include "results/store.h"

namespace mla {

struct ReportSummary {
  int64_t runs = 0, figures = 0;
  bool without_gnuplot = false;  // figures were left out because it is not installed
};

// Pages fetch nothing and hold their own style, script and figures; texts of the store are shown, never read as markup. The folder appears whole or not at
// all: it is written beside `out` and then takes its place. Throws ConfigError where `out` exists and is neither empty nor a report, ResourceError where it cannot
// be written.
ReportSummary write_report(const Store& store, const std::filesystem::path& out);

}  // namespace mla
