// Speeds that `mlaforge bench` measured: a row per model and test. What two tests measured never shares a table.
#include "results/query_table.h"

namespace mla {

const NamedQuery throughput_query{
    "throughput",
    R"(SELECT r.model, r.label, r.dtype, r.device, r.threads, r.kv_values, c.value, CASE WHEN r.protocol LIKE 'transmla/%' THEN m.value / 1073741824.0 END, s.value, t.value,
  q.value, ql.value, qh.value, b.value, b.value * c.value / 1048576.0, f.value, g.value / 1e9, 100.0 * g.value / w.value, r.protocol, t.std_error
FROM run r JOIN metric f ON f.run_id = r.id AND f.stage IN ('original', 'mla') AND f.name = 'largest_batch' AND f.protocol = r.protocol
  JOIN metric c ON c.run_id = r.id AND c.stage = f.stage AND c.name = 'context' AND c.protocol = r.protocol
  LEFT JOIN metric m ON m.run_id = r.id AND m.stage = f.stage AND m.name = 'memory_bytes' AND m.protocol = r.protocol
  LEFT JOIN metric s ON s.run_id = r.id AND s.stage = f.stage AND s.name = 'sequences' AND s.protocol = r.protocol
  LEFT JOIN metric t ON t.run_id = r.id AND t.stage = f.stage AND t.name = 'tokens_per_second' AND t.protocol = r.protocol
  LEFT JOIN metric q ON q.run_id = r.id AND q.stage = f.stage AND q.name = 'rate_ratio' AND q.protocol = r.protocol
  LEFT JOIN metric ql ON ql.run_id = r.id AND ql.stage = f.stage AND ql.name = 'rate_ratio_low' AND ql.protocol = r.protocol
  LEFT JOIN metric qh ON qh.run_id = r.id AND qh.stage = f.stage AND qh.name = 'rate_ratio_high' AND qh.protocol = r.protocol
  LEFT JOIN metric b ON b.run_id = r.id AND b.stage = f.stage AND b.name = 'cache_bytes_per_token' AND b.protocol = r.protocol
  LEFT JOIN metric g ON g.run_id = r.id AND g.stage = f.stage AND g.name = 'generation_bytes_per_second' AND g.protocol = r.protocol
  LEFT JOIN metric w ON w.run_id = r.id AND w.stage = f.stage AND w.name = 'copy_bytes_per_second' AND w.protocol = r.protocol AND w.value > 0
WHERE r.status = 'done' AND r.ad_hoc_limit = 0
  AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
  AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR r.protocol = ?3)
ORDER BY r.protocol, r.model, r.device, r.dtype, r.threads, 8, c.value, CASE WHEN r.protocol LIKE 'transmla/%' THEN 0 ELSE s.value END, r.kv_values DESC, r.label, r.id)",
    {{"Model"}, {"Method"}, {"dtype"}, {"Device"}, {"Threads"}, {"KV values"}, {"Context"}, {"Memory GiB"}, {"Sequences"}, {"Tokens/s", 2, 19}, {"Ratio", 3}, {"Ratio low", 3},
     {"Ratio high", 3}, {"Cache bytes per token"}, {"Cache MiB per sequence", 2}, {"Fits"}, {"GB/s", 2}, {"Of copy %", 1}, {"Protocol"}},
    {"Protocol"}};

}  // namespace mla
