// What runs of a kind have cost so far: the only source of estimates.
#pragma once
#include <map>
#include <string>

#include "results/store.h"

namespace mla {

struct RunCost {
  int64_t runs = 0;
  double seconds = 0;  // mean wall time
  double peak_rss_mb = 0;  // largest
};

// Finished runs of `model` on `corpus` with so many threads, by method.
std::map<std::string, RunCost> run_costs(const Store& store, const std::string& model, const std::string& corpus, int threads);

}  // namespace mla
