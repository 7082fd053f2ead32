#include "experiments/outcome.h"

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
