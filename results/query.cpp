#include "results/query.h"

#include <array>

#include "core/base/error.h"
#include "core/base/names.h"
#include "results/query_table.h"

namespace mla {
namespace {

constexpr std::array kQueries{&kld_query, &longbench_query, &longbench_e_query, &needle_query, &ppl_vs_cache_query, &runs_query, &zoo_query};
const std::vector<std::string> kParams{"corpus", "model", "protocol"};

const NamedQuery& find_query(std::string_view name) {
  for (const NamedQuery* query : kQueries)
    if (query->name == name) return *query;
  fail<ConfigError>("table", "unknown table '", name, "'", known_names_hint(name, query_names()));
}

}  // namespace

Cell cell_of(const Statement& row, int column) {
  if (row.is_null(column)) return std::monostate{};
  switch (row.type(column)) {
    case Statement::Type::integer: return row.integer(column);
    case Statement::Type::real: return row.real(column);
    default: return row.text(column);
  }
}

std::vector<std::string> query_names() {
  std::vector<std::string> names;
  for (const NamedQuery* query : kQueries) names.emplace_back(query->name);
  return names;
}

Table run_query(const Store& store, std::string_view name, const QueryParams& params) {
  const NamedQuery& query = find_query(name);
  for (const auto& [param, value] : params)
    if (std::find(kParams.begin(), kParams.end(), param) == kParams.end())
      fail<ConfigError>("table", "unknown parameter '", param, "'", known_names_hint(param, kParams));
  Statement row(store.database(), query.sql);
  for (std::size_t i = 0; i < kParams.size(); ++i) {  // ?1 corpus, ?2 model, ?3 protocol; NULL narrows nothing
    const auto given = params.find(kParams[i]);
    if (given != params.end()) row.bind(static_cast<int>(i) + 1, std::string_view(given->second));
  }
  Table table{query.name, {query.columns.begin(), query.columns.end()}, {}};
  while (row.step()) {
    std::vector<Cell> cells;
    for (int column = 0; column < row.columns(); ++column) cells.push_back(cell_of(row, column));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

}  // namespace mla
