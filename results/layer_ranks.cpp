// What each layer keeps in the cache of a token: what allocators divide.
#include <algorithm>

#include "core/base/json.h"
#include "results/query_table.h"

namespace mla {
namespace {

constexpr std::size_t kKeys = 4;

// The fifth cell is a JSON array: a column per layer.
Table shape(const Store&, const Table& rows) {
  Table table{rows.name, {rows.columns.begin(), rows.columns.begin() + kKeys}, {}};
  std::size_t layers = 0;
  for (const auto& row : rows.rows) {
    const Json values = Json::parse(std::get<std::string>(row.at(kKeys)), nullptr, false);
    if (!values.is_array() || !std::all_of(values.begin(), values.end(), [](const Json& value) { return value.is_number(); })) continue;  // a store from elsewhere
    table.rows.emplace_back(row.begin(), row.begin() + kKeys);
    for (const Json& value : values) {
      if (value.is_number_integer()) table.rows.back().emplace_back(value.get<int64_t>());
      else table.rows.back().emplace_back(value.get<double>());
    }
    layers = std::max(layers, values.size());
  }
  for (auto& row : table.rows) row.resize(kKeys + layers);
  for (std::size_t layer = 0; layer < layers; ++layer) table.columns.push_back({"L" + std::to_string(layer), 1});
  return table;
}

}  // namespace

const NamedQuery ranks_query{
    "ranks",
    R"(SELECT DISTINCT r.model, r.label, r.dtype, r.kv_values, r.kv_values_by_layer
FROM run r
WHERE r.status = 'done' AND r.ad_hoc_limit = 0 AND typeof(r.kv_values_by_layer) = 'text' AND r.method <> 'original'
  AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
  AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR r.protocol = ?3)
ORDER BY r.model, r.kv_values DESC, r.label, r.dtype, r.kv_values_by_layer)",
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}},
    {},
    shape};

}  // namespace mla
