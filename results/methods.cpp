// Methods at equal cache: a row per method, a column per cache size, the lowest perplexity of each.
#include <map>
#include <set>

#include "results/query_table.h"

namespace mla {
namespace {

constexpr std::size_t kKeys = 5;  // then the cache size, the value, its error
constexpr double kNear = 0.97;    // a column holds caches from this share of its size up: ranks are whole numbers, sizes asked for are missed by a few

double number(const Cell& cell) {
  if (const auto* whole = std::get_if<int64_t>(&cell)) return static_cast<double>(*whole);
  return std::get<double>(cell);
}

// Cache sizes replaced by those of their columns; of a method's several in one column the best stays.
Table by_column(const Table& rows) {
  std::set<double, std::greater<>> sizes;
  for (const auto& row : rows.rows) sizes.insert(number(row[kKeys]));
  std::map<double, double> column;
  double largest = 0;
  for (const double size : sizes) column[size] = largest = size < kNear * largest || largest == 0 ? size : largest;

  Table table{rows.name, rows.columns, {}};
  std::map<std::vector<Cell>, std::size_t> known;
  for (std::vector<Cell> row : rows.rows) {
    const double to = column.at(number(row[kKeys]));
    if (to == static_cast<double>(static_cast<int64_t>(to))) row[kKeys] = static_cast<int64_t>(to);
    else row[kKeys] = to;
    const auto [at, is_new] = known.emplace(std::vector<Cell>(row.begin(), row.begin() + kKeys + 1), table.rows.size());
    if (is_new) table.rows.push_back(row);
    else if (number(row[kKeys + 1]) < number(table.rows[at->second][kKeys + 1])) table.rows[at->second] = row;
  }
  return table;
}

Table shape(const Store&, const Table& rows) { return pivot(by_column(rows), {.keys = kKeys, .digits = 3, .descending = true, .after = " values"}); }

}  // namespace

const NamedQuery methods_query{
    "methods",
    R"(WITH score AS (
  SELECT r.id, r.model, r.dtype, r.method, r.corpus, r.kv_values, r.kv_values_original, m.stage, m.protocol, m.value, m.std_error
  FROM run r JOIN metric m ON m.run_id = r.id AND m.stage IN ('mla', 'original') AND m.name = 'perplexity'
  WHERE r.status = 'done' AND r.ad_hoc_limit = 0
    AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
    AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR m.protocol = ?3))
SELECT model, dtype, method, corpus, protocol, kv, value, std_error FROM (
  SELECT model, dtype, method, corpus, protocol, kv_values AS kv, min(value) AS value, std_error, 1 AS place
  FROM score WHERE stage = 'mla' AND kv_values IS NOT NULL GROUP BY model, dtype, method, corpus, protocol, kv_values
  UNION ALL
  SELECT model, dtype, 'original', corpus, protocol, kv, value, std_error, 0 FROM (
    SELECT model, dtype, corpus, protocol, kv_values_original AS kv, value, std_error, max(id)
    FROM score WHERE stage = 'original' AND kv_values_original IS NOT NULL GROUP BY model, dtype, corpus, protocol, kv_values_original))
ORDER BY corpus, protocol, model, dtype, place, method, kv)",
    {{"Model"}, {"dtype"}, {"Method"}, {"Corpus"}, {"Protocol"}, {"KV values"}, {"Perplexity", 3, 7}},
    {"Corpus", "Protocol"},
    shape};

}  // namespace mla
