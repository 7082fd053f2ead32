// How a named query is declared. Each takes ?1 corpus, ?2 model, ?3 protocol, any of which may be NULL.
#pragma once
#include <string_view>
#include <vector>

#include "results/database.h"
#include "results/table.h"

namespace mla {

// A column of the statement's current row.
Cell cell_of(const Statement& row, int column);

struct NamedQuery {
  const char* name;
  std::string_view sql;
  std::vector<Column> columns;  // of the first result columns; what follows is hidden (standard errors)
};

extern const NamedQuery kld_query;
extern const NamedQuery longbench_e_query;
extern const NamedQuery longbench_query;
extern const NamedQuery needle_query;
extern const NamedQuery ppl_vs_cache_query;  // what the figure of that name draws
extern const NamedQuery runs_query;
extern const NamedQuery zoo_query;

}  // namespace mla
