// The named queries. Values are looked up by key: that is quicker than one pass over all metrics, of which a store may hold a million. Tables
// show finished runs only, the latest of each identity, and never an ad hoc cut.
#include "results/query_table.h"

namespace mla {

const NamedQuery zoo_query{
    "zoo",
    R"(SELECT r.model, r.label, r.dtype, r.kv_values, 100.0 * (1.0 - 1.0 * r.kv_values / r.kv_values_original),
  o.value, p.value, c.value, k.value, 100.0 * t.value,
  (SELECT sum(seconds) FROM stage_time WHERE run_id = r.id), r.corpus, s.protocol,
  CASE r.warnings WHEN '[]' THEN NULL ELSE nullif((SELECT group_concat(value, '; ') FROM json_each(r.warnings)), '') END,
  o.std_error, p.std_error, c.std_error, k.std_error
FROM run r JOIN metric s ON s.run_id = r.id AND s.name = 'perplexity' AND (s.stage = 'mla' OR (s.stage = 'original' AND NOT EXISTS
  (SELECT 1 FROM metric WHERE run_id = r.id AND stage = 'mla' AND name = 'perplexity' AND protocol = s.protocol)))
  LEFT JOIN metric o ON o.run_id = r.id AND o.stage = 'original' AND o.name = 'perplexity' AND o.protocol = s.protocol
  LEFT JOIN metric p ON p.run_id = r.id AND p.stage = 'partial_rope' AND p.name = 'perplexity' AND p.protocol = s.protocol
  LEFT JOIN metric c ON c.run_id = r.id AND c.stage = 'mla' AND c.name = 'perplexity' AND c.protocol = s.protocol
  LEFT JOIN metric k ON k.run_id = r.id AND k.stage = 'mla' AND k.name = 'kld_mean' AND k.protocol = s.protocol
  LEFT JOIN metric t ON t.run_id = r.id AND t.stage = 'mla' AND t.name = 'same_top_share' AND t.protocol = s.protocol
WHERE r.status = 'done' AND r.ad_hoc_limit = 0
  AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
  AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR s.protocol = ?3)
ORDER BY r.corpus, s.protocol, r.model, r.kv_values DESC, r.label, r.dtype, r.identity)",
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}, {"Saved %", 1}, {"Original ppl", 3, 14}, {"Partial-RoPE ppl", 3, 15}, {"MLA ppl", 3, 16},
     {"KL nats", 4, 17}, {"Same top %", 1}, {"Seconds", 1}, {"Corpus"}, {"Protocol"}, {"Note"}},
    {"Corpus", "Protocol"}};

const NamedQuery ppl_vs_cache_query{
    "ppl_vs_cache",
    R"(SELECT r.method, r.label, r.kv_values, m.value, r.model, r.corpus, m.protocol, r.dtype, o.value, r.kv_values_original, k.value, q.std_error * o.value,
  m.std_error, k.std_error
FROM run r JOIN metric m ON m.run_id = r.id AND m.stage = 'mla' AND m.name = 'perplexity'
  LEFT JOIN metric o ON o.run_id = r.id AND o.stage = 'original' AND o.name = 'perplexity' AND o.protocol = m.protocol
  LEFT JOIN metric k ON k.run_id = r.id AND k.stage = 'mla' AND k.name = 'kld_mean' AND k.protocol = m.protocol
  LEFT JOIN metric q ON q.run_id = r.id AND q.stage = 'mla' AND q.name = 'ppl_ratio' AND q.protocol = m.protocol
WHERE r.status = 'done' AND r.ad_hoc_limit = 0 AND r.kv_values IS NOT NULL
  AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
  AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR m.protocol = ?3)
ORDER BY r.model, r.corpus, m.protocol, r.dtype, r.method, r.kv_values, m.value, r.label)",
    {{"Method"}, {"Label"}, {"KV values"}, {"MLA ppl", 4, 12}, {"Model"}, {"Corpus"}, {"Protocol"}, {"dtype"}, {"Original ppl", 4}, {"Original KV values"}, {"KL nats", 5, 13},
     {"Paired error", 4}},
    {"Corpus", "Protocol"}};

const NamedQuery runs_query{
    "runs",
    R"(SELECT id, status, attempt, model, label, corpus, protocol, dtype, started_at, coalesce(finished_at, ''),
  CASE WHEN ad_hoc_limit = 1 THEN 'ad hoc limit; ' ELSE '' END || coalesce(error, '')
FROM run
WHERE (?1 IS NULL OR corpus = ?1) AND (?2 IS NULL OR model = ?2) AND (?3 IS NULL OR protocol = ?3)
ORDER BY id)",
    {{"Run"}, {"Status"}, {"Attempt"}, {"Model"}, {"Method"}, {"Corpus"}, {"Protocol"}, {"dtype"}, {"Started"}, {"Finished"}, {"Note"}}};

}  // namespace mla
