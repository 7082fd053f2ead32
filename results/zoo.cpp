// The named queries. Tables show finished runs only, the latest of each identity, and never an ad hoc cut.
#include "results/query_table.h"

namespace mla {

const NamedQuery zoo_query{
    "zoo",
    R"(WITH score AS (
  SELECT run_id, protocol,
    max(value) FILTER (WHERE stage = 'original' AND name = 'perplexity') AS ppl_original,
    max(std_error) FILTER (WHERE stage = 'original' AND name = 'perplexity') AS ppl_original_error,
    max(value) FILTER (WHERE stage = 'partial_rope' AND name = 'perplexity') AS ppl_partial,
    max(std_error) FILTER (WHERE stage = 'partial_rope' AND name = 'perplexity') AS ppl_partial_error,
    max(value) FILTER (WHERE stage = 'mla' AND name = 'perplexity') AS ppl_mla,
    max(std_error) FILTER (WHERE stage = 'mla' AND name = 'perplexity') AS ppl_mla_error,
    max(value) FILTER (WHERE stage = 'mla' AND name = 'kld_mean') AS kld,
    max(std_error) FILTER (WHERE stage = 'mla' AND name = 'kld_mean') AS kld_error,
    max(value) FILTER (WHERE stage = 'mla' AND name = 'same_top_share') AS same_top
  FROM metric GROUP BY run_id, protocol)
SELECT r.model, r.label, r.dtype, r.kv_values, 100.0 * (1.0 - 1.0 * r.kv_values / r.kv_values_original),
  s.ppl_original, s.ppl_partial, s.ppl_mla, s.kld, 100.0 * s.same_top,
  (SELECT sum(seconds) FROM stage_time WHERE run_id = r.id), r.corpus, s.protocol,
  nullif((SELECT group_concat(value, '; ') FROM json_each(r.warnings)), ''),
  s.ppl_original_error, s.ppl_partial_error, s.ppl_mla_error, s.kld_error
FROM run r JOIN score s ON s.run_id = r.id
WHERE r.status = 'done' AND r.ad_hoc_limit = 0
  AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
  AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR s.protocol = ?3)
ORDER BY r.corpus, s.protocol, r.model, r.kv_values DESC, r.label, r.dtype, r.identity)",
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}, {"Saved %", 1}, {"Original ppl", 3, 14}, {"Partial-RoPE ppl", 3, 15}, {"MLA ppl", 3, 16},
     {"KL nats", 4, 17}, {"Same top %", 1}, {"Seconds", 1}, {"Corpus"}, {"Protocol"}, {"Note"}}};

const NamedQuery ppl_vs_cache_query{
    "ppl_vs_cache",
    R"(SELECT r.method, r.label, r.kv_values, m.value, r.model, r.corpus, m.protocol, r.dtype,
  (SELECT value FROM metric o WHERE o.run_id = r.id AND o.stage = 'original' AND o.name = 'perplexity' AND o.protocol = m.protocol),
  r.kv_values_original, m.std_error
FROM run r JOIN metric m ON m.run_id = r.id AND m.stage = 'mla' AND m.name = 'perplexity'
WHERE r.status = 'done' AND r.ad_hoc_limit = 0 AND r.kv_values IS NOT NULL
  AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
  AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR m.protocol = ?3)
ORDER BY r.model, r.corpus, m.protocol, r.dtype, r.method, r.kv_values, m.value, r.label)",
    {{"Method"}, {"Label"}, {"KV values"}, {"MLA ppl", 4, 10}, {"Model"}, {"Corpus"}, {"Protocol"}, {"dtype"}, {"Original ppl", 4}, {"Original KV values"}}};

const NamedQuery runs_query{
    "runs",
    R"(SELECT id, status, attempt, model, label, corpus, protocol, dtype, started_at, coalesce(finished_at, ''),
  CASE WHEN ad_hoc_limit = 1 THEN 'ad hoc limit; ' ELSE '' END || coalesce(error, '')
FROM run
WHERE (?1 IS NULL OR corpus = ?1) AND (?2 IS NULL OR model = ?2) AND (?3 IS NULL OR protocol = ?3)
ORDER BY id)",
    {{"Run"}, {"Status"}, {"Attempt"}, {"Model"}, {"Method"}, {"Corpus"}, {"Protocol"}, {"dtype"}, {"Started"}, {"Finished"}, {"Note"}}};

}  // namespace mla
