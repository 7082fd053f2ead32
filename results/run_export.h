// Whole stores as text that other programs read.
#pragma once
#include <string>

#include "results/store.h"

namespace mla {

// "csv": the view runs_wide; "jsonl": one run a line, whole, as `runs show` prints it; "sql": statements that make the same store again.
// Throws ConfigError for another format.
std::string export_runs(const Store& store, const std::string& format);

}  // namespace mla
