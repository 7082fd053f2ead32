// Answers of needle tasks, whose items are named LENGTH@DEPTH, by length and depth.
#include "results/query_table.h"

namespace mla {

const NamedQuery needle_query{
    "needle",
    R"(SELECT r.model, CASE a.stage WHEN 'original' THEN 'original' ELSE r.label END AS shown, r.dtype,
  CASE a.stage WHEN 'original' THEN r.kv_values_original ELSE r.kv_values END AS kv,
  CAST(substr(a.item, 1, instr(a.item, '@') - 1) AS INTEGER) AS length, CAST(substr(a.item, instr(a.item, '@') + 1) AS REAL) AS depth,
  avg(a.score), count(*), r.corpus, r.protocol
FROM run r JOIN answer a ON a.run_id = r.id
WHERE r.status = 'done' AND r.ad_hoc_limit = 0 AND a.item GLOB '[0-9]*@[0-9]*'
  AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
  AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR r.protocol = ?3)
GROUP BY r.corpus, r.protocol, r.model, kv, shown, r.dtype, length, depth
ORDER BY r.corpus, r.protocol, r.model, kv DESC, shown, r.dtype, length, depth)",
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}, {"Length"}, {"Depth", 2}, {"Score", 2}, {"Items"}, {"Task"}, {"Protocol"}},
    {"Task", "Protocol"}};

}  // namespace mla
