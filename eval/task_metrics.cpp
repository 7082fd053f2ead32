// From a task's answers to its metrics.
#include <cmath>
#include <map>
#include <set>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/names.h"
#include "eval/divergence.h"
#include "eval/means.h"
#include "eval/scorers/averages.h"
#include "eval/task_runner.h"

namespace mla {
namespace {

// One stage's values by metric, in the order of the items, and LongBench's lengths.
struct Values {
  std::map<std::string, std::vector<double>> metrics;
  std::vector<int64_t> lengths;
  TokenPairs answers;  // of the right answers
};

void append(const Json& answer, TokenPairs& pairs) {
  const auto join = [&](const char* name, std::vector<double>& values) {
    for (const Json& value : answer.at(name)) values.push_back(value);
  };
  join("nll", pairs.nll), join("reference_nll", pairs.reference_nll), join("kld", pairs.kld), join("same_top", pairs.same_top);
}

// rows are by position within a stage, as the store gives them.
std::map<std::string, Values> by_stage(const std::vector<AnswerRow>& rows) {
  std::map<std::string, Values> stages;
  for (const AnswerRow& row : rows) {
    Values& values = stages[row.stage];
    const Json detail = Json::parse(row.detail);
    for (const auto& [metric, value] : detail.at("metrics").items()) values.metrics[metric].push_back(value);
    if (detail.contains("answer")) append(detail["answer"], values.answers);
    values.lengths.push_back(detail.value("length", int64_t{0}));
  }
  return stages;
}

}  // namespace

std::vector<Metric> task_metrics(const TaskSpec& spec, std::size_t items, const std::vector<AnswerRow>& rows, const std::string& protocol) {
  std::vector<Metric> metrics;
  for (const auto& [stage, values] : by_stage(rows)) {
    if (values.lengths.size() != items)
      fail<ConfigError>("task", "wanted ", items, " answers of stage ", stage, " to ", spec.name, ", got ", values.lengths.size(), "; run it again to finish it");
    for (const auto& [name, scores] : values.metrics) {
      const bool divergence = name == "kld_gold", bytes = name == kCacheBytes;
      metrics.push_back({name, stage, protocol, mean_of(scores), scores.size() > 1 ? std::optional(error_of_mean(scores)) : std::nullopt, static_cast<int64_t>(scores.size()),
                         divergence ? "nats" : bytes ? "B" : "1", divergence || bytes ? Better::lower : Better::higher});
      if (spec.kind != TaskKind::longbench || bytes) continue;
      metrics.push_back({name + "_x100", stage, protocol, longbench_average(scores), std::nullopt, static_cast<int64_t>(scores.size()), "%", Better::higher});
      if (!spec.longbench.by_length) continue;
      const std::array<double, 3> buckets = longbench_e_averages(scores, values.lengths);
      const char* const names[] = {"_0-4k", "_4-8k", "_8k+"};
      for (std::size_t b = 0; b < 3; ++b)
        if (!std::isnan(buckets[b])) metrics.push_back({name + names[b], stage, protocol, buckets[b], std::nullopt, static_cast<int64_t>(scores.size()), "%", Better::higher});
    }
    if (values.answers.size() == 0) continue;
    for (const Statistic& statistic : token_statistics(values.answers))
      metrics.push_back({statistic.name, stage, protocol, statistic.value, statistic.std_error, static_cast<int64_t>(values.answers.size()), statistic.unit, statistic.better});
  }
  return metrics;
}

Json task_decoding(const std::vector<AnswerRow>& rows) {
  std::map<std::string, std::pair<std::set<std::string>, std::string>> stages;  // ways, and the reason of LibTorch
  for (const AnswerRow& row : rows) {
    const Json detail = Json::parse(row.detail);
    const auto decode = detail.find("decode");
    if (decode == detail.end() || decode->is_null()) continue;  // a choice, or an answer of an earlier version
    auto& [ways, reason] = stages[row.stage];
    ways.insert(decode->at("way").get<std::string>());
    if (decode->contains("reason")) reason = decode->at("reason");
  }
  Json decoding;
  for (const auto& [stage, found] : stages) decoding[stage] = decode_record(join({found.first.begin(), found.first.end()}), found.second);
  return decoding;
}

}  // namespace mla
