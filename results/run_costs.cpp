#include "results/run_costs.h"

namespace mla {

std::map<std::string, RunCost> run_costs(const Store& store, const std::string& model, const std::string& corpus, int threads) {
  Statement read(store.database(),
                 "SELECT method, count(*), avg((SELECT sum(seconds) FROM stage_time WHERE run_id = r.id)), max(peak_rss_mb) FROM run r "
                 "WHERE status = 'done' AND model = ?1 AND corpus = ?2 AND threads = ?3 GROUP BY method");
  read.bind(1, model).bind(2, corpus).bind(3, int64_t{threads});
  std::map<std::string, RunCost> costs;
  while (read.step())
    if (!read.is_null(2)) costs[read.text(0)] = {read.integer(1), read.real(2), read.is_null(3) ? 0 : read.real(3)};
  return costs;
}

}  // namespace mla
