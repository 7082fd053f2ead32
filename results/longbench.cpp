// LongBench's tables: a row per model, a column per set, and the averages of arXiv 2308.14508, Tables 2 and 3: a category is the mean of its
// sets, an overall score the mean of the six categories, over the English sets, the Chinese ones, or all of them; code counts as
// both. A set that was not run leaves out every average that it is part of: NULL in a sum is NULL. "Mean of 21" is MHA2MLA's.
#include <string>

#include "results/query_table.h"

namespace mla {
namespace {

// The latest run's value of each metric of a set, of the sets whose corpus is like `corpora` and the metrics whose name is like `names` (SQL patterns).
std::string latest_scores(const std::string& corpora, const std::string& names) {
  return R"(score AS (
  SELECT run_id, model, label, dtype, kv_values, weights, protocol, task, name, value,
    row_number() OVER (PARTITION BY weights, label, dtype, protocol, task, name ORDER BY run_id DESC) AS age
  FROM (SELECT r.id AS run_id, r.model, CASE m.stage WHEN 'original' THEN 'original' ELSE r.label END AS label, r.dtype,
      CASE m.stage WHEN 'original' THEN r.kv_values_original ELSE r.kv_values END AS kv_values,
      coalesce((SELECT sha256 FROM input WHERE run_id = r.id AND role = 'reference' AND m.stage = 'original'),
        (SELECT sha256 FROM input WHERE run_id = r.id AND role = 'checkpoint')) AS weights,
      m.protocol, r.corpus AS task, m.name, m.value
    FROM run r JOIN metric m ON m.run_id = r.id
    WHERE r.status = 'done' AND r.ad_hoc_limit = 0 AND r.corpus LIKE ')" + corpora + R"(' ESCAPE '\' AND m.name LIKE ')" + names + R"(' ESCAPE '\'
      AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR m.protocol = ?3))),
)";
}

const std::string kLongbench = "WITH " + latest_scores("longbench/%", R"(%\_x100)") + R"(p AS (
  SELECT model, label, dtype, kv_values, weights, protocol,
    max(value) FILTER (WHERE task = 'longbench/narrativeqa') AS t_narrativeqa, max(value) FILTER (WHERE task = 'longbench/qasper') AS t_qasper,
    max(value) FILTER (WHERE task = 'longbench/multifieldqa_en') AS t_multifieldqa_en, max(value) FILTER (WHERE task = 'longbench/multifieldqa_zh') AS t_multifieldqa_zh,
    max(value) FILTER (WHERE task = 'longbench/hotpotqa') AS t_hotpotqa, max(value) FILTER (WHERE task = 'longbench/2wikimqa') AS t_2wikimqa,
    max(value) FILTER (WHERE task = 'longbench/musique') AS t_musique, max(value) FILTER (WHERE task = 'longbench/dureader') AS t_dureader,
    max(value) FILTER (WHERE task = 'longbench/gov_report') AS t_gov_report, max(value) FILTER (WHERE task = 'longbench/qmsum') AS t_qmsum,
    max(value) FILTER (WHERE task = 'longbench/multi_news') AS t_multi_news, max(value) FILTER (WHERE task = 'longbench/vcsum') AS t_vcsum,
    max(value) FILTER (WHERE task = 'longbench/trec') AS t_trec, max(value) FILTER (WHERE task = 'longbench/triviaqa') AS t_triviaqa,
    max(value) FILTER (WHERE task = 'longbench/samsum') AS t_samsum, max(value) FILTER (WHERE task = 'longbench/lsht') AS t_lsht,
    max(value) FILTER (WHERE task = 'longbench/passage_count') AS t_passage_count, max(value) FILTER (WHERE task = 'longbench/passage_retrieval_en') AS t_passage_retrieval_en,
    max(value) FILTER (WHERE task = 'longbench/passage_retrieval_zh') AS t_passage_retrieval_zh, max(value) FILTER (WHERE task = 'longbench/lcc') AS t_lcc,
    max(value) FILTER (WHERE task = 'longbench/repobench-p') AS t_repobench_p
  FROM score WHERE age = 1 GROUP BY model, label, dtype, kv_values, weights, protocol),
c AS (
  SELECT p.*,
    (p.t_narrativeqa + p.t_qasper + p.t_multifieldqa_en + p.t_multifieldqa_zh) / 4.0 AS single_doc, (p.t_narrativeqa + p.t_qasper + p.t_multifieldqa_en) / 3.0 AS single_doc_en, p.t_multifieldqa_zh AS single_doc_zh,
    (p.t_hotpotqa + p.t_2wikimqa + p.t_musique + p.t_dureader) / 4.0 AS multi_doc, (p.t_hotpotqa + p.t_2wikimqa + p.t_musique) / 3.0 AS multi_doc_en, p.t_dureader AS multi_doc_zh,
    (p.t_gov_report + p.t_qmsum + p.t_multi_news + p.t_vcsum) / 4.0 AS summarization, (p.t_gov_report + p.t_qmsum + p.t_multi_news) / 3.0 AS summarization_en, p.t_vcsum AS summarization_zh,
    (p.t_trec + p.t_triviaqa + p.t_samsum + p.t_lsht) / 4.0 AS few_shot, (p.t_trec + p.t_triviaqa + p.t_samsum) / 3.0 AS few_shot_en, p.t_lsht AS few_shot_zh,
    (p.t_passage_count + p.t_passage_retrieval_en + p.t_passage_retrieval_zh) / 3.0 AS synthetic, (p.t_passage_count + p.t_passage_retrieval_en) / 2.0 AS synthetic_en, p.t_passage_retrieval_zh AS synthetic_zh,
    (p.t_lcc + p.t_repobench_p) / 2.0 AS code, (p.t_lcc + p.t_repobench_p) / 2.0 AS code_en, (p.t_lcc + p.t_repobench_p) / 2.0 AS code_zh
  FROM p)
SELECT c.model, c.label, c.dtype, c.kv_values,
  c.t_narrativeqa, c.t_qasper, c.t_multifieldqa_en, c.t_multifieldqa_zh, c.t_hotpotqa, c.t_2wikimqa, c.t_musique, c.t_dureader, c.t_gov_report, c.t_qmsum, c.t_multi_news,
  c.t_vcsum, c.t_trec, c.t_triviaqa, c.t_samsum, c.t_lsht, c.t_passage_count, c.t_passage_retrieval_en, c.t_passage_retrieval_zh, c.t_lcc, c.t_repobench_p,
  c.single_doc, c.multi_doc, c.summarization, c.few_shot, c.synthetic, c.code,
  (c.single_doc_en + c.multi_doc_en + c.summarization_en + c.few_shot_en + c.synthetic_en + c.code_en) / 6.0,
  (c.single_doc_zh + c.multi_doc_zh + c.summarization_zh + c.few_shot_zh + c.synthetic_zh + c.code_zh) / 6.0,
  (c.single_doc + c.multi_doc + c.summarization + c.few_shot + c.synthetic + c.code) / 6.0,
  (c.t_narrativeqa + c.t_qasper + c.t_multifieldqa_en + c.t_multifieldqa_zh + c.t_hotpotqa + c.t_2wikimqa + c.t_musique + c.t_dureader + c.t_gov_report + c.t_qmsum
    + c.t_multi_news + c.t_vcsum + c.t_trec + c.t_triviaqa + c.t_samsum + c.t_lsht + c.t_passage_count + c.t_passage_retrieval_en + c.t_passage_retrieval_zh + c.t_lcc + c.t_repobench_p) / 21.0,
  c.protocol
FROM c ORDER BY c.protocol, c.model, c.kv_values DESC, c.label, c.dtype, c.weights)";

const std::string kLongbenchE = R"(WITH bucket(position, length) AS (VALUES (0, '0-4k'), (1, '4-8k'), (2, '8k+')),
)" + latest_scores(R"(longbench\_e/%)", "%") + R"(p AS (
  SELECT model, label, dtype, kv_values, weights, protocol, position, length,
    max(value) FILTER (WHERE task = 'longbench_e/qasper') AS t_qasper, max(value) FILTER (WHERE task = 'longbench_e/multifieldqa_en') AS t_multifieldqa_en,
    max(value) FILTER (WHERE task = 'longbench_e/hotpotqa') AS t_hotpotqa, max(value) FILTER (WHERE task = 'longbench_e/2wikimqa') AS t_2wikimqa,
    max(value) FILTER (WHERE task = 'longbench_e/gov_report') AS t_gov_report, max(value) FILTER (WHERE task = 'longbench_e/multi_news') AS t_multi_news,
    max(value) FILTER (WHERE task = 'longbench_e/trec') AS t_trec, max(value) FILTER (WHERE task = 'longbench_e/triviaqa') AS t_triviaqa,
    max(value) FILTER (WHERE task = 'longbench_e/samsum') AS t_samsum, max(value) FILTER (WHERE task = 'longbench_e/passage_count') AS t_passage_count,
    max(value) FILTER (WHERE task = 'longbench_e/passage_retrieval_en') AS t_passage_retrieval_en, max(value) FILTER (WHERE task = 'longbench_e/lcc') AS t_lcc,
    max(value) FILTER (WHERE task = 'longbench_e/repobench-p') AS t_repobench_p
  FROM score JOIN bucket ON substr(name, -1 - length(length)) = '_' || length WHERE age = 1 GROUP BY model, label, dtype, kv_values, weights, protocol, position, length),
c AS (
  SELECT p.*,
    (p.t_qasper + p.t_multifieldqa_en) / 2.0 AS single_doc,
    (p.t_hotpotqa + p.t_2wikimqa) / 2.0 AS multi_doc,
    (p.t_gov_report + p.t_multi_news) / 2.0 AS summarization,
    (p.t_trec + p.t_triviaqa + p.t_samsum) / 3.0 AS few_shot,
    (p.t_passage_count + p.t_passage_retrieval_en) / 2.0 AS synthetic,
    (p.t_lcc + p.t_repobench_p) / 2.0 AS code
  FROM p)
SELECT c.model, c.label, c.dtype, c.kv_values, c.length,
  c.t_qasper, c.t_multifieldqa_en, c.t_hotpotqa, c.t_2wikimqa, c.t_gov_report, c.t_multi_news, c.t_trec, c.t_triviaqa, c.t_samsum, c.t_passage_count, c.t_passage_retrieval_en, c.t_lcc, c.t_repobench_p,
  c.single_doc, c.multi_doc, c.summarization, c.few_shot, c.synthetic, c.code,
  (c.single_doc + c.multi_doc + c.summarization + c.few_shot + c.synthetic + c.code) / 6.0,
  (c.t_qasper + c.t_multifieldqa_en + c.t_hotpotqa + c.t_2wikimqa + c.t_gov_report + c.t_multi_news + c.t_trec
    + c.t_triviaqa + c.t_samsum + c.t_passage_count + c.t_passage_retrieval_en + c.t_lcc + c.t_repobench_p) / 13.0,
  c.protocol
FROM c ORDER BY c.protocol, c.model, c.kv_values DESC, c.label, c.dtype, c.weights, c.position)";

}  // namespace

const NamedQuery longbench_query{
    "longbench", kLongbench,
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"},
     {"NarrativeQA", 2}, {"Qasper", 2}, {"MultiFieldQA-en", 2}, {"MultiFieldQA-zh", 2}, {"HotpotQA", 2}, {"2WikiMQA", 2},
     {"MuSiQue", 2}, {"DuReader", 2}, {"GovReport", 2}, {"QMSum", 2}, {"MultiNews", 2}, {"VCSUM", 2},
     {"TREC", 2}, {"TriviaQA", 2}, {"SAMSum", 2}, {"LSHT", 2}, {"PassageCount", 2}, {"PassageRetrieval-en", 2},
     {"PassageRetrieval-zh", 2}, {"LCC", 2}, {"RepoBench-P", 2},
     {"Single-doc QA", 2}, {"Multi-doc QA", 2}, {"Summarization", 2}, {"Few-shot", 2}, {"Synthetic", 2}, {"Code", 2}, {"Overall EN", 2}, {"Overall ZH", 2}, {"Overall", 2},
     {"Mean of 21", 2}, {"Protocol"}},
    {"Protocol"}};

const NamedQuery longbench_e_query{
    "longbench_e", kLongbenchE,
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}, {"Length"},
     {"Qasper", 2}, {"MultiFieldQA-en", 2}, {"HotpotQA", 2}, {"2WikiMQA", 2}, {"GovReport", 2}, {"MultiNews", 2},
     {"TREC", 2}, {"TriviaQA", 2}, {"SAMSum", 2}, {"PassageCount", 2}, {"PassageRetrieval-en", 2}, {"LCC", 2},
     {"RepoBench-P", 2},
     {"Single-doc QA", 2}, {"Multi-doc QA", 2}, {"Summarization", 2}, {"Few-shot", 2}, {"Synthetic", 2}, {"Code", 2}, {"Overall", 2}, {"Mean of 13", 2}, {"Protocol"}},
    {"Protocol"}};

}  // namespace mla
