// What conversions kept of each layer: ranks, energies, spectra. Of runs that say the same of one conversion, the latest.
#include "results/query_table.h"

namespace mla {

const NamedQuery layers_query{
    "layers",
    R"(SELECT r.model, r.label, r.dtype, r.kv_values, n.position, CAST(n.value AS INTEGER), 100.0 * e.value
FROM (SELECT model, label, dtype, kv_values, kv_values_by_layer, max(id) AS id FROM run WHERE status = 'done' AND ad_hoc_limit = 0
    AND (?1 IS NULL OR corpus = ?1) AND (?2 IS NULL OR model = ?2) AND (?3 IS NULL OR protocol = ?3)
    AND EXISTS (SELECT 1 FROM sample WHERE run_id = run.id AND stage = 'mla' AND metric = 'layer_rank')
  GROUP BY model, label, dtype, kv_values, kv_values_by_layer) r
  JOIN sample n ON n.run_id = r.id AND n.stage = 'mla' AND n.metric = 'layer_rank'
  LEFT JOIN sample e ON e.run_id = r.id AND e.stage = 'mla' AND e.metric = 'kept_energy' AND e.position = n.position
ORDER BY r.model, r.kv_values DESC, r.label, r.dtype, r.kv_values_by_layer, n.position)",
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}, {"Layer"}, {"Rank"}, {"Kept energy %", 3}}};

const NamedQuery spectrum_query{
    "spectrum",
    R"(SELECT r.model, r.label, r.dtype, r.kv_values, CAST(substr(s.metric, 10) AS INTEGER), CAST(substr(s.metric, 10 + instr(substr(s.metric, 10), '/')) AS INTEGER), s.position,
  100.0 * s.value
FROM (SELECT model, label, dtype, kv_values, kv_values_by_layer, max(id) AS id FROM run WHERE status = 'done' AND ad_hoc_limit = 0
    AND (?1 IS NULL OR corpus = ?1) AND (?2 IS NULL OR model = ?2) AND (?3 IS NULL OR protocol = ?3)
    AND EXISTS (SELECT 1 FROM sample WHERE run_id = run.id AND stage = 'mla' AND metric = 'layer_rank')
  GROUP BY model, label, dtype, kv_values, kv_values_by_layer) r
  JOIN sample s ON s.run_id = r.id AND s.stage = 'mla' AND s.metric > 'spectrum/' AND s.metric < 'spectrum0'
ORDER BY r.model, r.kv_values DESC, r.label, r.dtype, r.kv_values_by_layer, 5, 6, s.position)",
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}, {"Layer"}, {"Part"}, {"Direction"}, {"Energy %", 6}}};

}  // namespace mla
