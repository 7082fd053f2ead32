// How a named query is declared. Each takes ?1 corpus, ?2 model, ?3 protocol, any of which may be NULL.
#pragma once
#include <string_view>
#include <vector>

#include "results/store.h"
#include "results/table.h"

namespace mla {

// A column of the statement's current row.
Cell cell_of(const Statement& row, int column);

struct NamedQuery {
  const char* name;
  std::string_view sql;
  std::vector<Column> columns;  // of the first result columns; what follows is hidden (standard errors)
  std::vector<std::string> separate = {};          // columns whose values set rows apart
  Table (*shape)(const Store& store, const Table& rows) = nullptr;  // makes the rows another table
};

// Numbers of one row that a query gives one below the other, side by side: the table's first `keys` columns name the row, the next one the new column,
// then come its value and its standard error. New columns are ordered by their values.
struct Pivot {
  std::size_t keys = 0;
  int digits = -1;
  bool descending = false;
  const char* after = "";  // follows the new columns' names: "96" + " values"
};
Table pivot(const Table& rows, const Pivot& how);

extern const NamedQuery choices_query;
extern const NamedQuery kld_query;
extern const NamedQuery layers_query;
extern const NamedQuery longbench_e_query;
extern const NamedQuery longbench_query;
extern const NamedQuery memory_query;
extern const NamedQuery methods_query;
extern const NamedQuery needle_query;
extern const NamedQuery ppl_vs_cache_query;  // what the figures of perplexity and divergence draw
extern const NamedQuery ranks_query;
extern const NamedQuery runs_query;
extern const NamedQuery search_query;
extern const NamedQuery spectrum_query;
extern const NamedQuery throughput_query;
extern const NamedQuery zoo_query;

}  // namespace mla
