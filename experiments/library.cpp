#include "experiments/library.h"

#include "core/base/error.h"
#include "core/base/process.h"
#include "experiments/data_root.h"
#include "experiments/model_export.h"
#include "experiments/recording.h"
#include "experiments/run_steps.h"

#include <c10/core/InferenceMode.h>

namespace mla {
namespace {

const std::vector<std::string> kArgv{"(library)"};

// Rows kept until they are recorded.
class KeptSamples : public SampleSink {
 public:
  explicit KeptSamples(std::vector<SampleRow>& rows) : rows_(rows) {}
  void add(const std::vector<SampleRow>& rows) override { rows_.insert(rows_.end(), rows.begin(), rows.end()); }

 private:
  std::vector<SampleRow>& rows_;
};

MethodFlags method_flags(const std::string& method, const Json& options) {
  if (!options.is_object()) fail<ConfigError>("library", "wanted the method's options as a JSON object, got ", options.dump());
  MethodFlags flags{method, {}};
  for (const auto& [name, value] : options.items()) flags.given[name] = value.is_string() ? value.get<std::string>() : value.dump();
  return flags;
}

}  // namespace

struct ConvertedModel::Parts {
  Prepared prepared;
  Conversion conversion;
  RunRecord costs;  // times and cache sizes alone
  std::string data_root;
};

const Decoder& ConvertedModel::original() const { return parts_->prepared.model.decoder; }
const Decoder& ConvertedModel::converted() const { return parts_->conversion.converted; }
double ConvertedModel::cache_values() const { return converted().cache_values_per_token_per_layer(); }
double ConvertedModel::original_cache_values() const { return original().cache_values_per_token_per_layer(); }

void ConvertedModel::save(const std::filesystem::path& folder) const {
  require_new_directory(folder);
  write_conversion(parts_->prepared.model, parts_->prepared.method, parts_->prepared.resolved, *parts_->prepared.calibrator, parts_->conversion, {}, folder);
}

ConvertedModel convert(const std::string& model, const std::string& method, const ConversionOptions& options) {
  const c10::InferenceMode inference;
  const MethodFlags flags = method_flags(method, options.method);
  method_options(flags);  // an unknown name is refused before a model is read
  CalibrationFlags calibration;
  calibration.dataset = options.calibration;
  if (options.calibration_samples) calibration.samples.samples = *options.calibration_samples;
  calibration.samples_given = options.calibration_samples.has_value();

  auto parts = std::make_shared<ConvertedModel::Parts>();
  parts->data_root = options.data_root;
  {
    const StageTimer loading(parts->costs.times, "load");
    parts->prepared.model = load_model({find_model(model).string(), options.data_root, options.dtype, options.device, options.threads});
  }
  parts->prepared = prepare(std::move(parts->prepared.model), options.data_root, flags, calibration, nullptr);
  parts->conversion = convert_prepared(parts->prepared, parts->costs);
  return ConvertedModel(std::move(parts));
}

const StageScore& Evaluation::stage(const std::string& name) const {
  std::string known;
  for (const StageScore& each : stages) {
    if (each.stage == name) return each;
    known += (known.empty() ? "" : ", ") + each.stage;
  }
  fail<ConfigError>("library", "wanted a stage that was scored (", known, "), got '", name, "'");
}

Evaluation evaluate(const ConvertedModel& model, const std::string& corpus, const WindowOptions& options) {
  const c10::InferenceMode inference;
  const ConvertedModel::Parts& parts = model.parts();
  CorpusFlags flags;
  flags.corpus = corpus;
  flags.windows = options;
  std::vector<std::string> warnings;
  const Windows windows = corpus_windows(flags, parts.data_root, *parts.prepared.model.tokenizer, warnings);
  Evaluation evaluation;
  evaluation.record = run_record(parts.prepared, windows, flags, kArgv);
  evaluation.record.warnings.insert(evaluation.record.warnings.end(), warnings.begin(), warnings.end());
  for (const StageTime& time : parts.costs.times) add_stage_time(evaluation.record.times, time);
  evaluation.record.kv_values = parts.costs.kv_values;
  evaluation.record.kv_values_by_layer = parts.costs.kv_values_by_layer;
  KeptSamples sink(evaluation.samples);
  evaluation.stages = score_stages(parts.prepared, parts.conversion, windows, flags.hidden, evaluation.record, sink);
  return evaluation;
}

int64_t record(const Evaluation& evaluation, const std::filesystem::path& path) {
  require_writable_store(path);
  Store store = Store::open(path);
  RunRecord record = evaluation.record;
  std::vector<StageScore> scores;
  return record_run(store, record, [&](RunRecord&, SampleSink& sink) {
    sink.add(evaluation.samples);
    return evaluation.stages;
  }, scores);
}

}  // namespace mla
