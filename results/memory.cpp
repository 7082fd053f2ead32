// Bytes of the KV cache of one sequence at some lengths, and what of the original's is saved.
#include "core/base/json.h"
#include "results/query_table.h"

namespace mla {
namespace {

enum Column : std::size_t { kModel, kMethod, kDtype, kKvValues, kByLayer, kKvOriginal, kBytes, kValueBytes };

// Values of all layers, summed up; nothing for what is no array of numbers.
Cell values_of_all_layers(const Cell& by_layer) {
  const auto* text = std::get_if<std::string>(&by_layer);
  const Json values = text != nullptr ? Json::parse(*text, nullptr, false) : Json();
  if (!values.is_array() || values.empty()) return {};
  double sum = 0;
  for (const Json& value : values) {
    if (!value.is_number()) return {};
    sum += value.get<double>();
  }
  return sum;
}

// A row per cache that differs, with its bytes: measured ones, and those of whole numbers in the run's dtype.
Table shape(const Store&, const Table& rows) {
  Table table{rows.name, {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}, {"Saved %", 1}, {"Bytes per token", 1}, {"MiB at 4096", 2}, {"MiB at 32768", 2}, {"MiB at 131072", 2}}, {}};
  for (const auto& row : rows.rows) {
    Cell bytes = row.at(kBytes);
    if (std::holds_alternative<std::monostate>(bytes)) {
      const Cell values = values_of_all_layers(row.at(kByLayer));
      if (const auto* sum = std::get_if<double>(&values)) bytes = *sum * static_cast<double>(std::get<int64_t>(row.at(kValueBytes)));
    }
    const auto* per_token = std::get_if<double>(&bytes);
    if (per_token == nullptr) continue;
    const auto* kept = std::get_if<int64_t>(&row.at(kKvValues));
    const auto* original = std::get_if<int64_t>(&row.at(kKvOriginal));
    const bool saves = kept != nullptr && original != nullptr && *original > 0;
    table.rows.push_back({row[kModel], row[kMethod], row[kDtype], row[kKvValues], saves ? Cell(100 * (1 - static_cast<double>(*kept) / static_cast<double>(*original))) : Cell(), bytes});
    for (const double tokens : {4096.0, 32768.0, 131072.0}) table.rows.back().emplace_back(*per_token * tokens / (1 << 20));
  }
  return table;
}

}  // namespace

// A quantised cache has its format in the protocol's name, and its bytes are measured with its codes, scales and minima.
const NamedQuery memory_query{
    "memory",
    R"(WITH latest AS (
  SELECT r.*, CASE dtype WHEN 'fp32' THEN 4 ELSE 2 END AS value_bytes FROM run r WHERE r.status = 'done' AND r.ad_hoc_limit = 0
    AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
    AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR r.protocol = ?3))
SELECT model, shown, dtype, kv, by_layer, kv_original, bytes, value_bytes FROM (
  SELECT DISTINCT model, label AS shown, dtype, kv_values AS kv, kv_values_by_layer AS by_layer, kv_values_original AS kv_original, NULL AS bytes, value_bytes, 1 AS place
  FROM latest WHERE typeof(kv_values_by_layer) = 'text' AND method <> 'original'
  UNION ALL
  SELECT DISTINCT model, 'original', dtype, kv_values_original, NULL, kv_values_original, CAST(kv_values_original * json_array_length(kv_values_by_layer) * value_bytes AS REAL), value_bytes, 0
  FROM latest WHERE typeof(kv_values_by_layer) = 'text' AND kv_values_original IS NOT NULL
  UNION ALL
  SELECT l.model, CASE m.stage WHEN 'original' THEN 'original' ELSE l.label END || ', ' || substr(m.protocol, 1 + instr(m.protocol, '/kv-')), l.dtype,
    CASE m.stage WHEN 'original' THEN l.kv_values_original ELSE l.kv_values END, NULL, l.kv_values_original, max(m.value), l.value_bytes, 2
  FROM latest l JOIN metric m ON m.run_id = l.id AND m.stage IN ('original', 'mla') AND m.name = 'cache_bytes_per_token' AND instr(m.protocol, '/kv-') > 0
  GROUP BY 1, 2, 3, 4, 6)
ORDER BY model, place, kv DESC, shown, dtype, by_layer)",
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}},
    {},
    shape};

}  // namespace mla
