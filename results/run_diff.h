// Two runs side by side: what was different about them, and what came of it.
#pragma once
#include "results/store.h"
#include "results/table.h"

namespace mla {

// Rows: what, name, of the first, of the second, second - first (metrics and times). Settings and inputs that are equal are left out; metrics
// are all there. Throws ConfigError where there is no such run.
Table diff_runs(const Store& store, int64_t first, int64_t second);

}  // namespace mla
