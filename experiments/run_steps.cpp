#include "experiments/run_steps.h"

#include <cmath>

#include "core/base/process.h"
#include "experiments/layer_samples.h"
#include "experiments/recording.h"

namespace mla {
namespace {

int64_t rounded(double values) { return std::llround(values); }

}  // namespace

Prepared prepare(LoadedModel model, const std::string& data_root, const MethodFlags& method, const CalibrationFlags& calibration, const Windows* test) {
  Prepared prepared;
  prepared.method = method.method;
  prepared.model = std::move(model);
  Recipe asked = find_recipe(method.method).make(method_options(method), prepared.model.decoder.config);
  prepared.calibrator = std::make_unique<Calibrator>(calibration, data_root, prepared.model, asked);
  prepared.resolved = resolve_recipe(method, std::move(asked), prepared.model, *prepared.calibrator, test);
  prepared.drawn = prepared.calibrator->input() && calibration.ids.empty();
  prepared.seed = static_cast<int64_t>(calibration.samples.seed);
  prepared.times = prepared.calibrator->take_times();
  for (const StageTime& time : prepared.resolved.times) add_stage_time(prepared.times, time);
  return prepared;
}

RunRecord conversion_record(const Prepared& prepared, const std::vector<std::string>& argv) {
  const Recipe& recipe = prepared.resolved.recipe;
  const Calibrator& calibrator = *prepared.calibrator;
  RunRecord record = new_record(prepared.model, argv);
  record.method = prepared.method;
  record.config.update({{"command", "run"}, {"method", prepared.method}, {"label", recipe.label}, {"options", recipe.options}, {"calibration", calibrator.config()}});
  if (!prepared.resolved.search.is_null()) record.config["search"] = prepared.resolved.search;
  if (calibrator.input()) record.inputs.push_back(*calibrator.input());
  if (calibrator.qk_norms_input()) record.inputs.push_back(*calibrator.qk_norms_input());
  record.stage_versions = run_stage_versions();
  if (prepared.drawn) record.seed = prepared.seed;
  record.kv_values_original = rounded(prepared.model.decoder.cache_values_per_token_per_layer());
  record.warnings = calibrator.warnings();
  record.warnings.insert(record.warnings.end(), prepared.resolved.warnings.begin(), prepared.resolved.warnings.end());
  record.times = prepared.times;
  return record;
}

RunRecord run_record(const Prepared& prepared, const Windows& windows, const CorpusFlags& corpus, const std::vector<std::string>& argv) {
  RunRecord record = conversion_record(prepared, argv);
  record.corpus = windows.corpus;
  record.protocol = windows.protocol;
  record.config["limit"] = corpus.limit;
  record.inputs.push_back({"corpus", corpus.corpus, windows.sha256});
  record.ad_hoc_limit = corpus.limit > 0;
  return record;
}

Conversion convert_prepared(const Prepared& prepared, RunRecord& record) {
  Calibrator& calibrator = *prepared.calibrator;
  const Stopwatch converting;
  Conversion conversion = convert(prepared.model.decoder, prepared.resolved.recipe, calibrator.callback(), calibrator.samples());
  StageTime rest{"convert", converting.seconds(), converting.cpu()};
  for (const StageTime& time : calibrator.times()) {
    add_stage_time(record.times, time);
    rest.seconds -= time.seconds;
    rest.cpu_seconds -= time.cpu_seconds;
  }
  rest.seconds -= conversion.healing.seconds;
  rest.cpu_seconds -= conversion.healing.cpu_seconds;
  add_stage_time(record.times, rest);
  if (conversion.healing.tokens > 0) add_stage_time(record.times, {"heal", conversion.healing.seconds, conversion.healing.cpu_seconds});
  record.kv_values = rounded(conversion.converted.cache_values_per_token_per_layer());
  record.kv_values_by_layer = conversion.converted.cache_values_by_layer();
  return conversion;
}

std::vector<StageScore> score_stages(const Prepared& prepared, const Conversion& conversion, const Windows& windows, const HiddenCacheOptions& hidden,
                                     RunRecord& record, SampleSink& sink) {
  const LoadedModel& model = prepared.model;
  DecoderModel original(model.decoder), converted(conversion.converted);
  StoredHidden stored(original, model_key_of(model), hidden);
  // Configurations that differ in the rank alone have one partial-RoPE model.
  HiddenCacheOptions of_partial = hidden;
  const std::string key = prepared.calibrator->cache_key();
  of_partial.on = hidden.on && !key.empty();
  std::optional<DecoderModel> partial;
  std::optional<StoredHidden> stored_partial;
  std::vector<StageModel> stages{{"original", &stored}};
  if (conversion.partial_rope)
    stages.push_back({"partial_rope", &stored_partial.emplace(partial.emplace(*conversion.partial_rope), key + '\n' + partial_rope_key(prepared.resolved.recipe), of_partial)});
  stages.push_back({"mla", &converted});
  sink.add(layer_samples(conversion));
  std::vector<StageScore> scores = score_windows(stages, windows, {.sink = &sink});
  report_stored_hidden(stored, hidden);
  for (const StageScore& stage : scores) add_stage_time(record.times, {"score_" + stage.stage, stage.seconds, stage.cpu_seconds});
  check_sanity(record, scores, model.decoder.config.vocab_size);
  return scores;
}

}  // namespace mla
