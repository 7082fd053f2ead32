// Values one below the other made columns.
#include <map>
#include <set>

#include "results/query_table.h"
#include "results/table_cells.h"

namespace mla {
namespace {

// Headings in order, and where each one's column is.
std::map<Cell, std::size_t> places_of(const Table& rows, const Pivot& how) {
  std::set<Cell> headings;
  for (const auto& row : rows.rows) headings.insert(row.at(how.keys));
  std::map<Cell, std::size_t> places;
  std::size_t next = 0;
  for (const Cell& heading : headings) places[heading] = how.descending ? headings.size() - ++next : next++;
  return places;
}

}  // namespace

Table pivot(const Table& rows, const Pivot& how) {
  const std::map<Cell, std::size_t> places = places_of(rows, how);
  Table table{rows.name, {rows.columns.begin(), rows.columns.begin() + static_cast<std::ptrdiff_t>(how.keys)}, {}};
  table.columns.resize(how.keys + places.size());
  const std::size_t width = table.columns.size();
  for (const auto& [heading, place] : places)
    table.columns[how.keys + place] = {rounded_cell({}, {heading}, 0) + how.after, how.digits, static_cast<int>(width + place)};
  std::map<std::vector<Cell>, std::size_t> known;
  for (const auto& row : rows.rows) {
    const std::vector<Cell> key(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(how.keys));
    const auto [at, is_new] = known.emplace(key, table.rows.size());
    if (is_new) {
      table.rows.push_back(key);
      table.rows.back().resize(width + places.size());
    }
    const std::size_t place = places.at(row.at(how.keys));
    table.rows[at->second][how.keys + place] = row.at(how.keys + 1);
    table.rows[at->second][width + place] = row.at(how.keys + 2);
  }
  return table;
}

}  // namespace mla
