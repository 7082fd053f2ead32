// Runs beside each other by their divergence from the original, in the order of llama-perplexity's block.
#include "results/query_table.h"

namespace mla {

// PPL ratio and Same top have the errors that the store's metrics of these names have: over windows and over tokens.
const NamedQuery kld_query{
    "kld",
    R"(WITH value AS (
  SELECT run_id, protocol, stage,
    max(value) FILTER (WHERE name = 'ppl_q') AS ppl_q, max(value) FILTER (WHERE name = 'ppl_base') AS ppl_base,
    100.0 * max(value) FILTER (WHERE name = 'ln_ppl_correlation') AS ln_ppl_correlation, max(value) FILTER (WHERE name = 'ln_ppl_ratio') AS ln_ppl_ratio,
    max(value) FILTER (WHERE name = 'ppl_ratio') AS ppl_ratio, max(value) FILTER (WHERE name = 'ppl_difference') AS ppl_difference,
    max(value) FILTER (WHERE name = 'kld_mean') AS kld_mean, max(value) FILTER (WHERE name = 'kld_max') AS kld_max,
    max(value) FILTER (WHERE name = 'kld_p99.9') AS kld_p99_9, max(value) FILTER (WHERE name = 'kld_p99') AS kld_p99,
    max(value) FILTER (WHERE name = 'kld_p95') AS kld_p95, max(value) FILTER (WHERE name = 'kld_p90') AS kld_p90,
    max(value) FILTER (WHERE name = 'kld_median') AS kld_median, max(value) FILTER (WHERE name = 'kld_p10') AS kld_p10,
    max(value) FILTER (WHERE name = 'kld_p5') AS kld_p5, max(value) FILTER (WHERE name = 'kld_p1') AS kld_p1,
    max(value) FILTER (WHERE name = 'kld_p0.1') AS kld_p0_1, max(value) FILTER (WHERE name = 'kld_min') AS kld_min,
    100.0 * max(value) FILTER (WHERE name = 'dp_mean') AS dp_mean, 100.0 * max(value) FILTER (WHERE name = 'dp_max') AS dp_max,
    100.0 * max(value) FILTER (WHERE name = 'dp_p99.9') AS dp_p99_9, 100.0 * max(value) FILTER (WHERE name = 'dp_p99') AS dp_p99,
    100.0 * max(value) FILTER (WHERE name = 'dp_p95') AS dp_p95, 100.0 * max(value) FILTER (WHERE name = 'dp_p90') AS dp_p90,
    100.0 * max(value) FILTER (WHERE name = 'dp_p75') AS dp_p75, 100.0 * max(value) FILTER (WHERE name = 'dp_median') AS dp_median,
    100.0 * max(value) FILTER (WHERE name = 'dp_p25') AS dp_p25, 100.0 * max(value) FILTER (WHERE name = 'dp_p10') AS dp_p10,
    100.0 * max(value) FILTER (WHERE name = 'dp_p5') AS dp_p5, 100.0 * max(value) FILTER (WHERE name = 'dp_p1') AS dp_p1,
    100.0 * max(value) FILTER (WHERE name = 'dp_p0.1') AS dp_p0_1, 100.0 * max(value) FILTER (WHERE name = 'dp_min') AS dp_min,
    100.0 * max(value) FILTER (WHERE name = 'dp_rms') AS dp_rms, 100.0 * max(value) FILTER (WHERE name = 'same_top_share') AS same_top_share,
    max(std_error) FILTER (WHERE name = 'ppl_q') AS ppl_q_error, max(std_error) FILTER (WHERE name = 'ppl_base') AS ppl_base_error,
    max(std_error) FILTER (WHERE name = 'ln_ppl_ratio') AS ln_ppl_ratio_error, max(std_error) FILTER (WHERE name = 'ppl_ratio') AS ppl_ratio_error,
    max(std_error) FILTER (WHERE name = 'ppl_difference') AS ppl_difference_error, max(std_error) FILTER (WHERE name = 'kld_mean') AS kld_mean_error,
    100.0 * max(std_error) FILTER (WHERE name = 'dp_mean') AS dp_mean_error, 100.0 * max(std_error) FILTER (WHERE name = 'dp_rms') AS dp_rms_error,
    100.0 * max(std_error) FILTER (WHERE name = 'same_top_share') AS same_top_share_error
  FROM metric WHERE stage IN ('mla', 'partial_rope') GROUP BY run_id, protocol, stage)
SELECT r.model, r.label || CASE x.stage WHEN 'mla' THEN '' ELSE ' (partial RoPE)' END, r.dtype, CASE x.stage WHEN 'mla' THEN r.kv_values END,
  x.ppl_q, x.ppl_base, x.ln_ppl_correlation, x.ln_ppl_ratio, x.ppl_ratio, x.ppl_difference, x.kld_mean, x.kld_max, x.kld_p99_9,
  x.kld_p99, x.kld_p95, x.kld_p90, x.kld_median, x.kld_p10, x.kld_p5, x.kld_p1, x.kld_p0_1, x.kld_min,
  x.dp_mean, x.dp_max, x.dp_p99_9, x.dp_p99, x.dp_p95, x.dp_p90, x.dp_p75, x.dp_median, x.dp_p25,
  x.dp_p10, x.dp_p5, x.dp_p1, x.dp_p0_1, x.dp_min, x.dp_rms, x.same_top_share,
  r.corpus, x.protocol,
  x.ppl_q_error, x.ppl_base_error, x.ln_ppl_ratio_error, x.ppl_ratio_error, x.ppl_difference_error, x.kld_mean_error, x.dp_mean_error, x.dp_rms_error, x.same_top_share_error
FROM run r JOIN value x ON x.run_id = r.id
WHERE r.status = 'done' AND r.ad_hoc_limit = 0 AND x.kld_mean IS NOT NULL
  AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
  AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR x.protocol = ?3)
ORDER BY r.corpus, x.protocol, r.model, r.kv_values DESC, r.label, x.stage, r.dtype, r.identity)",
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}, {"PPL(Q)", 4, 40}, {"PPL(base)", 4, 41}, {"Cor %", 2}, {"ln ratio", 5, 42}, {"PPL ratio", 4, 43}, {"PPL difference", 4, 44},
     {"Mean KLD", 5, 45}, {"Max KLD", 4}, {"99.9% KLD", 4}, {"99% KLD", 4}, {"95% KLD", 4}, {"90% KLD", 4}, {"Median KLD", 5}, {"10% KLD", 6}, {"5% KLD", 6}, {"1% KLD", 6}, {"0.1% KLD", 6},
     {"Min KLD", 6}, {"Mean Δp %", 3, 46}, {"Max Δp %", 2}, {"99.9% Δp %", 2}, {"99% Δp %", 2}, {"95% Δp %", 2}, {"90% Δp %", 2}, {"75% Δp %", 2}, {"Median Δp %", 3}, {"25% Δp %", 2},
     {"10% Δp %", 2}, {"5% Δp %", 2}, {"1% Δp %", 2}, {"0.1% Δp %", 2}, {"Min Δp %", 2}, {"RMS Δp %", 3, 47}, {"Same top %", 2, 48}, {"Corpus"}, {"Protocol"}}};

}  // namespace mla
