#include "experiments/run_tasks.h"

#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "eval/language_model.h"
#include "experiments/data_root.h"
#include "experiments/decode_flag.h"
#include "experiments/model_record.h"
#include "experiments/program.h"
#include "results/kld_block.h"

namespace mla {
namespace {

std::optional<TaskOutcome> find_outcome(const RunRecord& record, const Store& store) {
  const std::optional<int64_t> done = store.find_done(run_identity(record));
  if (!done) return std::nullopt;
  auto [stored, metrics] = store.read_run(*done);
  TaskOutcome outcome;
  outcome.run_id = *done;
  outcome.record = std::move(stored);
  outcome.metrics = std::move(metrics);
  outcome.found_done = true;
  return outcome;
}

// Identity of a converted model's answers: all of the text's run but the text.
RunRecord converted_record(const Prepared& prepared, const TaskFlags& flags) {
  RunRecord record = conversion_record(prepared, program_arguments());
  record.config["limit"] = flags.limit;
  return record;
}

void refuse_conversion_flags(const RunRequest& request) {
  if (!request.corpus.corpus.empty())
    fail<UsageError>("run", "wanted --tasks alone with --method original, got --corpus: every conversion's run scores the original on its text");
  if (!request.method.given.empty()) fail<UsageError>("run", "wanted no option of a method with --method original, got ", flag_of(request.method.given.begin()->first));
  if (!request.calibration.dataset.empty() || !request.calibration.ids.empty()) fail<UsageError>("run", "wanted no calibration with --method original, got one");
  if (request.tasks.tasks.empty()) fail<UsageError>("run", "wanted --tasks with --method original, got none");
  if (!request.out.empty()) fail<UsageError>("run", "wanted no --out with --method original: nothing is converted");
}

}  // namespace

std::vector<TaskSpec> ready_tasks(const RunRequest& request, TaskFlags& flags) {
  flags = request.tasks;
  flags.limit = request.corpus.limit;
  flags.cache = cache_format(request.cache, parse_dtype(request.model.dtype));
  if (flags.tasks.empty()) {
    if (!flags.cache.own()) fail<UsageError>("run", "wanted --tasks beside --kv-cache: a text is read in one forward here (`mlaforge eval` reads it through a cache)");
    refuse_engine(flags.decode, "run");
    if (!flags.chat_template.empty()) fail<UsageError>("run", "wanted --tasks beside --template: a text is no conversation");
    return {};
  }
  choose_chat(flags, find_model(request.model.model));
  return find_tasks(flags, request.model.data_root);
}

const Conversion& LazyConversion::get(RunRecord& record) {
  if (!conversion_) conversion_ = convert_prepared(prepared_, costs_);
  for (const StageTime& time : costs_.times) add_stage_time(record.times, time);
  record.kv_values = costs_.kv_values;
  record.kv_values_by_layer = costs_.kv_values_by_layer;
  return *conversion_;
}

TaskOutcome answer_converted(const TaskSpec& spec, const TaskFlags& flags, const RunRequest& request, const Prepared& prepared, LazyConversion& conversion, Store& store) {
  const LoadedModel& model = prepared.model;
  const int64_t max_position = model.decoder.config.max_position;
  const LoadedTask task = load_task(spec, flags, request.model.data_root, *model.tokenizer, max_position);
  RunRecord record = task_record(task, flags, max_position, converted_record(prepared, flags));
  if (request.skip_done)
    if (std::optional<TaskOutcome> done = find_outcome(record, store)) return std::move(*done);
  DecoderModel converted(conversion.get(record).converted);
  return run_task(task, flags, {{"mla", &converted}}, *model.tokenizer, max_position, std::move(record), store);
}

RunOutcome answer_original(const RunRequest& request) {
  refuse_conversion_flags(request);
  TaskFlags flags;
  const std::vector<TaskSpec> specs = ready_tasks(request, flags);
  require_writable_store(request.store);
  const LoadedModel model = load_model(request.model);
  DecoderModel original(model.decoder);
  Store store = Store::open(request.store);
  RunOutcome outcome;
  outcome.found_done = true;
  for (const TaskSpec& spec : specs) {
    const int64_t max_position = model.decoder.config.max_position;
    const LoadedTask task = load_task(spec, flags, request.model.data_root, *model.tokenizer, max_position);
    RunRecord record = task_record(task, flags, max_position, model_record(model, flags.limit, false));
    std::optional<TaskOutcome> done = request.skip_done ? find_outcome(record, store) : std::nullopt;
    outcome.tasks.push_back(done ? std::move(*done) : run_task(task, flags, {{is_converted(model) ? "mla" : "original", &original}}, *model.tokenizer, max_position, std::move(record), store));
    outcome.found_done = outcome.found_done && outcome.tasks.back().found_done;
  }
  outcome.run_id = outcome.tasks.front().run_id;
  return outcome;
}

void print_task(const TaskOutcome& outcome, bool kld) {
  std::cout << outcome.record.corpus << ", " << outcome.record.protocol << ", " << outcome.record.config.at("label").get<std::string>() << " of " << outcome.record.model
            << ", run " << outcome.run_id << '\n';
  std::string last;
  for (const Metric& metric : outcome.metrics) {
    if (metric.name == "kld_mean") last = metric.stage;
    if (in_kld_block(metric.name)) continue;
    std::printf("  %-10s %-32s %8.4f", metric.stage.c_str(), metric.name.c_str(), metric.value);
    if (metric.std_error) std::printf(" +/- %.4f", *metric.std_error);
    std::printf("   %lld items\n", static_cast<long long>(metric.count));
  }
  if (kld && !last.empty()) std::cout << "\nRight answers' tokens:\n" << write_kld_block(outcome.metrics, last) << '\n';
}

Json task_json(const TaskOutcome& outcome) {
  Json metrics = Json::array();
  for (const Metric& metric : outcome.metrics)
    metrics.push_back({{"stage", metric.stage}, {"metric", metric.name}, {"value", metric.value}, {"std_error", metric.std_error ? Json(*metric.std_error) : Json()}, {"items", metric.count}});
  Json seconds = Json::object();
  for (const StageTime& time : outcome.record.times) seconds[time.stage] = time.seconds;
  return {{"run_id", outcome.run_id}, {"task", outcome.record.corpus}, {"protocol", outcome.record.protocol}, {"label", outcome.record.config.at("label")},
          {"model", outcome.record.model}, {"metrics", metrics}, {"taken_up", outcome.taken_up}, {"seconds", seconds}, {"peak_rss_mb", outcome.record.peak_rss_mb},
          {"decode", outcome.record.library_versions.contains("decode") ? outcome.record.library_versions.at("decode") : Json()}, {"warnings", outcome.record.warnings}};
}

}  // namespace mla
