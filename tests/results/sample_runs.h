// Runs that were never made, with every field filled: what stores, tables and figures are tested on.
#pragma once
#include <string>
#include <vector>

#include "core/base/sha256.h"
#include "results/store.h"

namespace mla::test {

struct SampleRun {
  std::string method = "transmla";
  std::string label = "transmla ff4 r64";
  std::string model = "SmolLM2-135M";
  std::string corpus = "wikitext2-tok";
  std::string protocol = "hf-chunk/512/first16";
  std::string dtype = "fp32";
  int64_t kv_values = 96;
  double perplexity = 30.125;
  bool ad_hoc_limit = false;
  std::vector<std::string> warnings;
};

inline RunRecord sample_record(const SampleRun& run = {}) {
  RunRecord record;
  record.method = run.method;
  record.model = run.model;
  record.architecture = "llama";
  record.corpus = run.corpus;
  record.protocol = run.protocol;
  record.config = {{"label", run.label}, {"options", {{"rank", run.kv_values}}}};
  record.inputs = {{"checkpoint", "model.gguf", sha256_hex(run.model)}, {"corpus", run.corpus, sha256_hex(run.corpus)}};
  record.stage_versions = {{"convert", 1}, {"score", 1}};
  record.dtype = run.dtype;
  record.device = "cpu";
  record.threads = 2;
  record.seed = 42;
  record.ad_hoc_limit = run.ad_hoc_limit;
  record.kv_values_original = 384;
  record.kv_values = run.kv_values;
  record.kv_values_by_layer = {run.kv_values, run.kv_values};
  record.git_commit = std::string(40, 'c');
  record.argv = {"mlaforge", "run", "--method", run.method};
  record.host = "host";
  record.library_versions = {{"sqlite", "3"}};
  record.started_at = "2026-01-31T12:00:00Z";
  record.finished_at = "2026-01-31T12:01:00Z";
  record.times = {{"load", 1.5, 1.25}, {"convert", 2.25, 4.0}};
  record.peak_rss_mb = 512.5;
  record.warnings = run.warnings;
  return record;
}

inline std::vector<Metric> sample_metrics(const SampleRun& run = {}) {
  return {{"perplexity", "original", run.protocol, 20.5, 1.25, 16, "1", Better::lower},
          {"perplexity", "mla", run.protocol, run.perplexity, 1.75, 16, "1", Better::lower},
          {"kld_mean", "mla", run.protocol, 0.375, 0.0625, 16, "nats", Better::lower},
          {"same_top_share", "mla", run.protocol, 0.75, 0.03125, 16, "1", Better::higher}};
}

inline int64_t add_done(Store& store, const SampleRun& run = {}) {
  const RunRecord record = sample_record(run);
  const int64_t id = store.begin_run(record);
  store.finish_run(id, record, sample_metrics(run));
  return id;
}

// The number that a query gives; -1 where it gives no row.
inline int64_t number(const Database& database, const std::string& sql) {
  Statement read(database, sql);
  return read.step() ? read.integer(0) : -1;
}

inline AnswerRow sample_answer(int64_t position) {
  return {"arc_easy", "mla", position, std::to_string(position), std::string(64, 'a'), "1", "2", 0.5, 7, "{}"};
}

}  // namespace mla::test
