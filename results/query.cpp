#include "results/query.h"

#include <algorithm>
#include <array>

#include "core/base/error.h"
#include "core/base/names.h"
#include "results/query_table.h"
#include "results/snapshot.h"

namespace mla {
namespace {

constexpr std::array kQueries{&choices_query, &kld_query,   &layers_query, &longbench_query, &longbench_e_query, &memory_query,   &methods_query,
                              &needle_query,  &ppl_vs_cache_query, &ranks_query, &runs_query,  &search_query, &spectrum_query, &throughput_query, &zoo_query};
const std::vector<std::string> kBound{"corpus", "model", "protocol"};  // ?1 to ?3
const std::vector<std::string> kParams{"corpus", "method", "model", "protocol"};

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

void check_query_params(const QueryParams& params) {
  for (const auto& [param, value] : params)
    if (std::find(kParams.begin(), kParams.end(), param) == kParams.end())
      fail<ConfigError>("table", "unknown parameter '", param, "'", known_names_hint(param, kParams));
}

void bind_query_params(Statement& row, const QueryParams& params) {
  check_query_params(params);
  for (std::size_t i = 0; i < kBound.size(); ++i) {
    const auto given = params.find(kBound[i]);
    if (given != params.end()) row.bind(static_cast<int>(i) + 1, std::string_view(given->second));
  }
}

void narrow_to_method(Table& table, const QueryParams& params) {
  const auto given = params.find("method");
  if (given == params.end()) return;
  const std::string& method = given->second;
  const auto named = [&](const char* name) { return std::find_if(table.columns.begin(), table.columns.end(), [&](const Column& c) { return c.name == name; }); };
  auto column = named("Label");  // where there is one, Method is the recipe
  if (column == table.columns.end()) column = named("Method");
  if (column == table.columns.end()) return;
  const auto place = static_cast<std::size_t>(column - table.columns.begin());
  std::erase_if(table.rows, [&](const std::vector<Cell>& row) {
    const auto* text = std::get_if<std::string>(&row.at(place));
    return text == nullptr || (*text != method && text->rfind(method + ' ', 0) != 0);
  });
}

Table run_query(const Store& store, std::string_view name, const QueryParams& params) {
  const NamedQuery& query = find_query(name);
  const Snapshot snapshot(store.database());
  Statement row(store.database(), query.sql);
  bind_query_params(row, params);
  Table table{query.name, {query.columns.begin(), query.columns.end()}, {}};
  while (row.step()) {
    std::vector<Cell> cells;
    for (int column = 0; column < row.columns(); ++column) cells.push_back(cell_of(row, column));
    table.rows.push_back(std::move(cells));
  }
  if (query.shape != nullptr) table = query.shape(store, table);
  narrow_to_method(table, params);
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    if (std::find(query.separate.begin(), query.separate.end(), table.columns[c].name) != query.separate.end()) table.separate.push_back(c);
  return table;
}

}  // namespace mla
