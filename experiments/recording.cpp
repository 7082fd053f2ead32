#include "experiments/recording.h"

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"

namespace mla {
namespace {

Json number_or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

// {"perplexity": 29.6, "std_error": 1.9, "windows": 16} of one stage, null when it was not scored.
Json stage_json(const std::vector<Metric>& metrics, const std::string& stage) {
  Json result;
  for (const Metric& metric : metrics)
    if (metric.stage == stage && metric.name == "perplexity")
      result.update({{"perplexity", metric.value}, {"std_error", number_or_null(metric.std_error)}, {"windows", metric.count}});
    else if (metric.stage == stage && metric.name == "cache_bytes_per_token") result["cache_bytes_per_token"] = metric.value;
  return result;
}

Json divergence_json(const std::vector<Metric>& metrics, const std::string& stage) {
  static const std::vector<std::pair<std::string, std::string>> names{
      {"kld_mean", "mean"}, {"kld_median", "median"}, {"kld_p90", "p90"}, {"kld_p99", "p99"}, {"kld_max", "max"},
      {"same_top_share", "same_top_share"}, {"ppl_ratio", "ppl_ratio"}};
  Json result;
  for (const Metric& metric : metrics) {
    if (metric.stage != stage) continue;
    for (const auto& [stored, printed] : names) {
      if (metric.name != stored) continue;
      result[printed] = metric.value;
      if (metric.std_error) result[printed + "_std_error"] = *metric.std_error;
    }
    if (metric.name.find("perplexity") == std::string::npos && metric.name != "bits_per_byte")
      result["statistics"][metric.name] = {{"value", metric.value}, {"std_error", number_or_null(metric.std_error)}};
  }
  return result;
}

}  // namespace

void record_metrics(Store& store, int64_t id, RunRecord& record, const std::function<std::vector<Metric>()>& measure) {
  try {
    const std::vector<Metric> metrics = measure();
    record.finished_at = utc_now();
    record.peak_rss_mb = peak_rss_mb();
    record.status = RunStatus::done;
    store.finish_run(id, record, metrics);
  } catch (const Interrupted&) {
    store.interrupt_run(id);
    throw;
  } catch (const std::exception& error) {
    store.fail_run(id, error.what());
    throw;
  }
}

int64_t record_run(Store& store, RunRecord& record,
                   const std::function<std::vector<StageScore>(RunRecord&, SampleSink&)>& measure,
                   std::vector<StageScore>& scores) {
  const int64_t id = store.begin_run(record);
  record_metrics(store, id, record, [&] {
    scores = measure(record, *store.sink(id));
    return to_metrics(scores, record.protocol);
  });
  return id;
}

void check_sanity(RunRecord& record, const std::vector<StageScore>& scores, int64_t vocab_size) {
  for (const StageScore& score : scores) {
    if (score.perplexity <= static_cast<double>(vocab_size)) continue;
    if (score.stage == "original")
      fail<NumericalError>("perplexity", "wanted the original model below its vocabulary's size ", vocab_size, ", got ", score.perplexity,
                           "; is this text in a language it knows, and the file whole?");
    record.warnings.push_back(score.stage + " perplexity is above the vocabulary's size: worse than guessing");
  }
  if (record.kv_values && record.kv_values_original && *record.kv_values > *record.kv_values_original)
    record.warnings.push_back("the converted cache is larger than the original's");
  for (const std::string& warning : record.warnings) warn(warning);
}

Json outcome_json(int64_t run_id, const RunRecord& record, const std::vector<Metric>& metrics) {
  Json seconds = Json::object(), cpu = Json::object();
  for (const StageTime& time : record.times) {
    seconds[time.stage] = time.seconds;
    cpu[time.stage] = time.cpu_seconds;
  }
  return {{"run_id", run_id},
          {"identity", run_identity(record)},
          {"method", record.method},
          {"label", record.config.value("label", record.method)},
          {"model", record.model},
          {"corpus", record.corpus},
          {"protocol", record.protocol},
          {"dtype", record.dtype},
          {"original", stage_json(metrics, "original")},
          {"partial_rope", stage_json(metrics, "partial_rope")},
          {"mla", stage_json(metrics, "mla")},
          {"kld", divergence_json(metrics, "mla")},
          {"kld_partial_rope", divergence_json(metrics, "partial_rope")},
          {"kv_values_per_token_per_layer", record.kv_values ? Json(*record.kv_values) : Json()},
          {"kv_values_original", record.kv_values_original ? Json(*record.kv_values_original) : Json()},
          {"seconds", seconds},
          {"cpu_seconds", cpu},
          {"peak_rss_mb", record.peak_rss_mb},
          {"warnings", record.warnings}};
}

Json stored_outcome(const Store& store, int64_t run_id) {
  const auto [record, metrics] = store.read_run(run_id);
  return outcome_json(run_id, record, metrics);
}

}  // namespace mla
