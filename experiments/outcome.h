// A run as the JSON object that commands print.
#pragma once
#include <vector>

#include "core/base/run_record.h"
#include "results/store.h"

namespace mla {

// One run as one object: what --format json prints.
Json outcome_json(int64_t run_id, const RunRecord& record, const std::vector<Metric>& metrics);

// The same of a run that the store holds. Throws ConfigError when there is no such run.
Json stored_outcome(const Store& store, int64_t run_id);

}  // namespace mla
