// What searches tried: the candidates of each run, with the perplexity that decided.
#include "results/query_table.h"

namespace mla {

// A candidate names the options in which it differs from what was asked for: one, of a whole number, in every search there is.
const NamedQuery search_query{
    "search",
    R"(SELECT r.model, r.label, r.id, o.key, CAST(o.value AS REAL), CAST(json_extract(c.value, '$.perplexity') AS REAL),
  json_extract(c.value, '$.options') = json_extract(r.config, '$.search.chosen'),
  json_extract(r.config, '$.search.windows') || ' x ' || json_extract(r.config, '$.search.window') || ' tokens, ' ||
    CASE json_extract(r.config, '$.search.select_on') WHEN 'test' THEN 'the test windows' ELSE 'held out of the calibration' END,
  r.corpus, r.protocol
FROM (SELECT * FROM run WHERE status = 'done' AND ad_hoc_limit = 0 AND instr(config, '"search":{') > 0
    AND id = (SELECT max(id) FROM run d WHERE d.identity = run.identity AND d.status = 'done')
    AND (?1 IS NULL OR corpus = ?1) AND (?2 IS NULL OR model = ?2) AND (?3 IS NULL OR protocol = ?3)) r,
  json_each(r.config, '$.search.candidates') c, json_each(c.value, '$.options') o
WHERE o.type IN ('integer', 'real')
ORDER BY r.model, r.label, r.id, o.key, o.value)",
    {{"Model"}, {"Method"}, {"Run"}, {"Option"}, {"Value"}, {"Perplexity", 4}, {"Chosen"}, {"Scored on"}, {"Corpus"}, {"Protocol"}},
    {"Scored on"}};

}  // namespace mla
