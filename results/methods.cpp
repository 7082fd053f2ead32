// Methods at equal cache: a row per method, a column per cache size, the lowest perplexity of each.
#include "results/query_table.h"

namespace mla {
namespace {

Table shape(const Store&, const Table& rows) { return pivot(rows, {.keys = 5, .digits = 3, .descending = true, .after = " values"}); }

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
