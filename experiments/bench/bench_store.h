// Rows of a benchmark as runs of the store: a run per model and test, committed when the test is done.
#pragma once
#include <vector>

#include "experiments/bench/sides.h"
#include "results/store.h"

namespace mla {

// Names of what is stored of a test, all under the protocol "llama-bench/tg128/b2048" or "transmla/100 requests/b2048"; results/throughput.cpp
// reads them. Each returns the run's id. Throws as Store::finish_run does.
int64_t store_row(Store& store, const BenchSide& side, const BenchRow& row, const BenchMachine& machine);
int64_t store_row(Store& store, const BenchSide& side, const ProtocolRow& row, const BenchMachine& machine);

}  // namespace mla
