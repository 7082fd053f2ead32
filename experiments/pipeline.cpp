#include "experiments/pipeline.h"

#include <cmath>
#include <sstream>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "core/base/sha256.h"
#include "experiments/data_root.h"
#include "experiments/model_export.h"
#include "experiments/program.h"
#include "experiments/recording.h"
#include "experiments/model_record.h"
#include "experiments/run_tasks.h"

namespace mla {
namespace {

int64_t rounded(double values) { return std::llround(values); }

}  // namespace

const Json& run_stage_versions() {
  static const Json versions{{"calibrate", 1}, {"convert", 1}, {"score", 1}};
  return versions;
}

std::string model_key_of(const LoadedModel& model) {
  std::string key;
  for (const InputHash& input : model_inputs(model)) key += input.role + ' ' + input.sha256 + '\n';
  return key + model.dtype + ' ' + model.device + ' ' + std::to_string(model.threads) + (model.deterministic ? "" : " any order");
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
  if (request.corpus.corpus.empty() && request.tasks.tasks.empty()) fail<UsageError>("run", "wanted a text (--corpus), tasks (--tasks) or both, got neither");
  if (!request.corpus.corpus.empty()) find_text(request.corpus.corpus, TextRole::corpus, request.model.data_root);
  if (!request.calibration.dataset.empty()) find_text(request.calibration.dataset, TextRole::calibration, request.model.data_root);
  require_writable_store(request.store);
  if (!request.out.empty()) require_new_directory(request.out);
}

Windows corpus_windows(const CorpusFlags& flags, const std::string& data_root, const Tokenizer& tokenizer,
                       std::vector<std::string>& warnings) {
  const Text text = find_text(flags.corpus, TextRole::corpus, data_root);
  if (text.warning) warnings.push_back(*text.warning);
  WindowOptions options = flags.windows;
  options.rows = text.rule;
  Windows windows = cut_text(text.path, tokenizer, options);
  windows.corpus = text.name;
  if (flags.limit > 0) cut_windows(windows, flags.limit);
  return windows;
}

Json describe_conversion(const LoadedModel& original, const std::string& method, const Recipe& recipe,
                         const Calibrator& calibrator, const WrittenConversion& conversion, const Json& search) {
  const std::string source = model_inputs(original)[0].sha256;
  Json described{{"method", method}, {"label", recipe.label}, {"options", recipe.options}, {"calibration", calibrator.config()},
          {"calibration_sha256", calibrator.input() ? Json(calibrator.input()->sha256) : Json()},
          {"healing_tokens", conversion.healing.tokens}, {"healing_seconds", conversion.healing.seconds},
          {"source_model", original.name}, {"source_sha256", source}, {"dtype", original.dtype}, {"ranks", conversion.ranks},
          {"kv_values_original", rounded(conversion.original.cache_values_per_token_per_layer())},
          {"kv_values", rounded(conversion.converted.cache_values_per_token_per_layer())}};
  if (!search.is_null()) described["search"] = search;
  return described;
}

Json write_conversion(const LoadedModel& original, const std::string& method, const Resolved& resolved, const Calibrator& calibrator,
                      const Conversion& conversion, const ExportFlags& flags, const std::string& out) {
  return write_conversion(original, method, resolved, calibrator, WrittenConversion{original.decoder, conversion.converted, conversion.ranks, conversion.healing}, flags, out);
}

Json write_conversion(const LoadedModel& original, const std::string& method, const Resolved& resolved, const Calibrator& calibrator,
                      const WrittenConversion& conversion, const ExportFlags& flags, const std::string& out) {
  const CalibrationSamples* samples = calibrator.samples();
  std::optional<CalibrationSamples> built_in;
  if (samples == nullptr) samples = &built_in.emplace(built_in_samples(*original.tokenizer, original.decoder.config.max_position));
  const Json record = describe_conversion(original, method, resolved.recipe, calibrator, conversion, resolved.search);
  return export_model({original, conversion.converted, record, *samples, conversion.scratch}, flags, out);
}

std::string describe_written(const std::string& out, const std::string& label, const WrittenConversion& conversion) {
  std::ostringstream text;
  text << out << ": " << label << ", " << conversion.converted.cache_values_per_token_per_layer() << " of " << conversion.original.cache_values_per_token_per_layer()
       << " cache values per token and layer, " << conversion.converted.parameters() << " parameters\n";
  return text.str();
}

namespace {

// The text's part of a run. False where it was in the store already.
bool score_text(const RunRequest& request, const Prepared& prepared, const Windows& windows, const std::vector<StageTime>& times, const std::vector<std::string>& warnings,
                LazyConversion& conversion, Store& store, RunOutcome& outcome) {
  outcome.record = run_record(prepared, windows, request.corpus, program_arguments());
  outcome.record.warnings.insert(outcome.record.warnings.end(), warnings.begin(), warnings.end());
  for (const StageTime& time : times) add_stage_time(outcome.record.times, time);
  if (request.skip_done)
    if (const std::optional<int64_t> done = store.find_done(run_identity(outcome.record))) {
      outcome.run_id = *done;
      return false;
    }
  const auto measure = [&](RunRecord& record, SampleSink& sink) {
    return score_stages(prepared, conversion.get(record), windows, request.corpus.hidden, record, sink);
  };
  outcome.run_id = record_run(store, outcome.record, measure, outcome.scores);
  return true;
}

}  // namespace

RunOutcome run_pipeline(const RunRequest& request) {
  if (request.method.method == kOriginal) return answer_original(request);
  check_request(request);
  TaskFlags tasks;
  const std::vector<TaskSpec> specs = ready_tasks(request, tasks);
  std::vector<StageTime> times;
  std::vector<std::string> warnings;
  std::optional<StageTimer> loading(std::in_place, times, "load");
  LoadedModel model = load_model(request.model);
  std::optional<Windows> windows;
  if (!request.corpus.corpus.empty()) windows = corpus_windows(request.corpus, request.model.data_root, *model.tokenizer, warnings);
  loading.reset();

  const Prepared prepared = prepare(std::move(model), request.model.data_root, request.method, request.calibration, windows ? &*windows : nullptr);
  LazyConversion conversion(prepared);
  Store store = Store::open(request.store);
  RunOutcome outcome;
  outcome.found_done = !(windows && score_text(request, prepared, *windows, times, warnings, conversion, store, outcome));
  for (const TaskSpec& spec : specs) {
    outcome.tasks.push_back(answer_converted(spec, tasks, request, prepared, conversion, store));
    outcome.found_done = outcome.found_done && outcome.tasks.back().found_done;
  }
  if (!windows) outcome.run_id = outcome.tasks.front().run_id;
  if (!request.out.empty()) {
    RunRecord unused;
    write_conversion(prepared.model, request.method.method, prepared.resolved, *prepared.calibrator, conversion.get(unused), {.check = false}, request.out);
  }
  return outcome;
}

}  // namespace mla
