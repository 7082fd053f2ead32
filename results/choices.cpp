// Multiple choice: a row per model, a column per task and metric, the latest run of each.
#include "results/query_table.h"

namespace mla {
namespace {

Table shape(const Store&, const Table& rows) { return pivot(rows, {.keys = 5, .digits = 4}); }

}  // namespace

const NamedQuery choices_query{
    "choices",
    R"(SELECT model, label, dtype, kv, protocol, task || ' ' || name, value, std_error FROM (
  SELECT *, row_number() OVER (PARTITION BY weights, label, dtype, protocol, task, name ORDER BY run_id DESC) AS age FROM (
    SELECT r.id AS run_id, r.model, CASE m.stage WHEN 'original' THEN 'original' ELSE r.label END AS label, r.dtype,
      CASE m.stage WHEN 'original' THEN r.kv_values_original ELSE r.kv_values END AS kv,
      coalesce((SELECT sha256 FROM input WHERE run_id = r.id AND role = 'reference' AND m.stage = 'original'),
        (SELECT sha256 FROM input WHERE run_id = r.id AND role = 'checkpoint')) AS weights,
      m.protocol, r.corpus AS task, m.name, m.value, m.std_error
    FROM run r JOIN metric m ON m.run_id = r.id AND m.stage IN ('original', 'mla') AND m.name IN ('acc', 'acc_norm', 'acc_bytes', 'acc_norm_nospace')
    WHERE r.status = 'done' AND r.ad_hoc_limit = 0
      AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR m.protocol = ?3)))
WHERE age = 1 ORDER BY protocol, model, kv DESC, label, dtype, weights, task, name)",
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}, {"Protocol"}, {"Task"}, {"Value", 4, 7}},
    {"Protocol"},
    shape};

}  // namespace mla
