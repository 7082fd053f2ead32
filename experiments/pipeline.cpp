#include "experiments/pipeline.h"

#include <cmath>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "core/base/sha256.h"
#include "experiments/data_root.h"
#include "experiments/model_export.h"
#include "experiments/recording.h"
#include "experiments/searcher.h"

namespace mla {
namespace {

int64_t rounded(double values) { return std::llround(values); }

// Original, partial RoPE, converted: one pass over the windows scores them all.
std::vector<StageScore> score(const LoadedModel& model, const Conversion& conversion, const Windows& windows, const HiddenCacheOptions& hidden, SampleSink& sink) {
  DecoderModel original(model.decoder), converted(conversion.converted);
  StoredHidden stored(original, model_key_of(model), hidden);
  std::optional<DecoderModel> partial;
  std::vector<StageModel> stages{{"original", &stored}};
  if (conversion.partial_rope) stages.push_back({"partial_rope", &partial.emplace(*conversion.partial_rope)});
  stages.push_back({"mla", &converted});
  std::vector<StageScore> scores = score_windows(stages, windows, {.sink = &sink});
  report_stored_hidden(stored, hidden);
  return scores;
}

RunRecord make_record(const RunRequest& request, const LoadedModel& model, const Recipe& recipe, const Calibrator& calibrator,
                      const Windows& windows, const Json& search) {
  RunRecord record = new_record(model, program_arguments());
  record.method = request.method.method;
  record.corpus = windows.corpus;
  record.protocol = windows.protocol;
  record.config = {{"command", "run"}, {"method", request.method.method}, {"label", recipe.label}, {"options", recipe.options},
                   {"calibration", calibrator.config()}, {"limit", request.corpus.limit}};
  if (!search.is_null()) record.config["search"] = search;
  record.inputs.push_back({"corpus", request.corpus.corpus, windows.sha256});
  if (calibrator.input()) record.inputs.push_back(*calibrator.input());
  if (calibrator.qk_norms_input()) record.inputs.push_back(*calibrator.qk_norms_input());
  record.stage_versions = run_stage_versions();
  if (calibrator.input() && request.calibration.ids.empty()) record.seed = static_cast<int64_t>(request.calibration.samples.seed);
  record.ad_hoc_limit = request.corpus.limit > 0;
  record.kv_values_original = rounded(model.decoder.cache_values_per_token_per_layer());
  record.warnings = calibrator.warnings();
  return record;
}

}  // namespace

const Json& run_stage_versions() {
  static const Json versions{{"calibrate", 1}, {"convert", 1}, {"score", 1}};
  return versions;
}

std::string model_key_of(const LoadedModel& model) {
  std::string key;
  for (const InputHash& input : model_inputs(model)) key += input.role + ' ' + input.sha256 + '\n';
  return key + model.dtype + ' ' + model.device + ' ' + std::to_string(model.threads);
}

void report_stored_hidden(const StoredHidden& stored, const HiddenCacheOptions& options) {
  const std::string all = std::to_string(stored.found() + stored.computed());
  if (stored.found() > 0) status("Found", "last hidden states of the original for " + std::to_string(stored.found()) + " of " + all + " tokens in the cache");
  if (stored.full())
    warn("the cache of hidden states is full at " + std::to_string(options.limit_mb) + " MB, part of this text's were not kept; --hidden-cache-mb gives it more");
}

void check_request(const RunRequest& request) {
  method_options(request.method);
  find_model(request.model.model);
  find_text(request.corpus.corpus, TextRole::corpus, request.model.data_root);
  if (!request.calibration.dataset.empty()) find_text(request.calibration.dataset, TextRole::calibration, request.model.data_root);
  require_writable_store(request.store);
  if (!request.out.empty()) require_new_directory(request.out);
}

Windows corpus_windows(const CorpusFlags& flags, const std::string& data_root, const Tokenizer& tokenizer,
                       std::vector<std::string>& warnings) {
  const Text text = find_text(flags.corpus, TextRole::corpus, data_root);
  if (text.warning) warnings.push_back(*text.warning);
  Windows windows = cut_text(text.path, tokenizer, flags.windows);
  windows.corpus = text.name;
  if (flags.limit > 0) cut_windows(windows, flags.limit);
  return windows;
}

Json describe_conversion(const LoadedModel& original, const std::string& method, const Recipe& recipe,
                         const Calibrator& calibrator, const Conversion& conversion, const Json& search) {
  const std::string source = model_inputs(original)[0].sha256;
  Json described{{"method", method}, {"label", recipe.label}, {"options", recipe.options}, {"calibration", calibrator.config()},
          {"calibration_sha256", calibrator.input() ? Json(calibrator.input()->sha256) : Json()},
          {"healing_tokens", conversion.healing.tokens}, {"healing_seconds", conversion.healing.seconds},
          {"source_model", original.name}, {"source_sha256", source}, {"dtype", original.dtype}, {"ranks", conversion.ranks},
          {"kv_values_original", rounded(original.decoder.cache_values_per_token_per_layer())},
          {"kv_values", rounded(conversion.converted.cache_values_per_token_per_layer())}};
  if (!search.is_null()) described["search"] = search;
  return described;
}

Json write_conversion(const LoadedModel& original, const std::string& method, const Resolved& resolved, const Calibrator& calibrator,
                      const Conversion& conversion, const ExportFlags& flags, const std::string& out) {
  const CalibrationSamples* samples = calibrator.samples();
  std::optional<CalibrationSamples> built_in;
  if (samples == nullptr) samples = &built_in.emplace(built_in_samples(*original.tokenizer, original.decoder.config.max_position));
  const Json record = describe_conversion(original, method, resolved.recipe, calibrator, conversion, resolved.search);
  return export_model({original, conversion.converted, record, *samples}, flags, out);
}

RunOutcome run_pipeline(const RunRequest& request) {
  check_request(request);
  std::vector<StageTime> times;
  std::vector<std::string> warnings;
  std::optional<StageTimer> loading(std::in_place, times, "load");
  const LoadedModel model = load_model(request.model);
  const Windows windows = corpus_windows(request.corpus, request.model.data_root, *model.tokenizer, warnings);
  loading.reset();

  Recipe asked = find_recipe(request.method.method).make(method_options(request.method), model.decoder.config);
  Calibrator calibrator(request.calibration, request.model.data_root, model, asked);
  const Resolved resolved = resolve_recipe(request.method, std::move(asked), model, calibrator, &windows);
  const Recipe& recipe = resolved.recipe;
  warnings.insert(warnings.end(), resolved.warnings.begin(), resolved.warnings.end());
  for (const StageTime& time : calibrator.take_times()) add_stage_time(times, time);
  for (const StageTime& time : resolved.times) add_stage_time(times, time);
  RunOutcome outcome;
  outcome.record = make_record(request, model, recipe, calibrator, windows, resolved.search);
  outcome.record.warnings.insert(outcome.record.warnings.end(), warnings.begin(), warnings.end());

  Store store = Store::open(request.store);
  if (request.skip_done)
    if (const std::optional<int64_t> done = store.find_done(run_identity(outcome.record))) {
      outcome.run_id = *done;
      outcome.found_done = true;
      return outcome;
    }

  const auto measure = [&](RunRecord& record, SampleSink& sink) {
    const Stopwatch converting;
    const Conversion conversion = convert(model.decoder, recipe, calibrator.callback(), calibrator.samples());
    StageTime rest{"convert", converting.seconds(), converting.cpu()};
    record.times = times;
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
    if (!request.out.empty()) write_conversion(model, request.method.method, resolved, calibrator, conversion, {.check = false}, request.out);
    const std::vector<StageScore> scores = score(model, conversion, windows, request.corpus.hidden, sink);
    for (const StageScore& stage : scores) add_stage_time(record.times, {"score_" + stage.stage, stage.seconds, stage.cpu_seconds});
    check_sanity(record, scores, model.decoder.config.vocab_size);
    return scores;
  };
  outcome.run_id = record_run(store, outcome.record, measure, outcome.scores);
  return outcome;
}

}  // namespace mla
