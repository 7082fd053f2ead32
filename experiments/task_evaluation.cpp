#include "experiments/task_evaluation.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "eval/jieba/jieba.h"
#include "eval/needle.h"
#include "eval/scorers/scorers.h"
#include "experiments/build_info.h"
#include "experiments/data_root.h"
#include "experiments/decode_flag.h"
#include "experiments/recording.h"

namespace mla {
namespace {

bool needs_jieba(const TaskSpec& spec) {
  return std::any_of(spec.scores.begin(), spec.scores.end(), [](const ScoreRule& rule) { return scorer_needs_jieba(rule.scorer); });
}

// Where bootstrap's tables may lie, beside the places that Jieba::find knows itself.
std::vector<std::filesystem::path> jieba_roots(const std::filesystem::path& root) { return {root, std::filesystem::path(build_info().source_dir) / ".cache"}; }

int64_t longest_input(const TaskFlags& flags, int64_t max_position) {
  if (flags.max_length > max_position && max_position > 0)
    fail<ConfigError>("task", "wanted --max-length of at most ", max_position, ", what the model was trained for, got ", flags.max_length);
  if (flags.max_length > 0) return flags.max_length;
  return max_position > 0 ? max_position : 2048;
}

ItemOptions item_options(const TaskFlags& flags) {
  ItemOptions options;
  if (flags.limit > 0) options.limit = flags.limit;
  options.shots = flags.shots;
  options.chat = !flags.chat_template.empty();
  return options;
}

bool is_generation(const TaskSpec& spec) { return spec.kind != TaskKind::multiple_choice && spec.kind != TaskKind::partial_choice; }

// What changes the numbers and is no part of the task itself.
std::string protocol_of(const TaskSpec& spec, const TaskFlags& flags, int64_t max_length) {
  std::string protocol = spec.protocol + "/v" + std::to_string(spec.version);
  if (flags.shots) protocol += "/shots" + std::to_string(*flags.shots);
  if (spec.kind == TaskKind::longbench) protocol += '/' + flags.truncate + '-' + std::to_string(max_length);
  if (spec.kind == TaskKind::longbench && flags.rouge_compat) protocol += "/rouge-compat";
  if (flags.chat && spec.chat) protocol += "/chat-" + flags.chat->name;
  if (!flags.cache.own()) protocol += "/kv-" + cache_format_name(flags.cache);
  return protocol;
}

struct NoAnswers : AnswerSink {
  void add(const std::vector<AnswerRow>&) override {}
};

TaskRunOptions run_options(const LoadedTask& task, const TaskFlags& flags, int64_t max_position, const std::optional<Jieba>& jieba) {
  return {longest_input(flags, max_position), flags.batch, flags.truncate, flags.rouge_compat, jieba ? &*jieba : nullptr, flags.chat && task.spec.chat ? flags.chat->name : "", flags.answer_kld, flags.cache,
          parse_decode_path(flags.decode), flags.division};
}

// Which answers there are, for processes without the store.
Json places_of(const std::vector<AnswerRow>& answers) {
  Json places = Json::array();
  for (const AnswerRow& row : answers) places.push_back(Json::array({row.stage, row.position}));
  return places;
}

std::vector<AnswerRow> answers_at(const std::string& task, const Json& places) {
  std::vector<AnswerRow> answers;
  for (const Json& place : places) answers.push_back({.task = task, .stage = place.at(0), .position = place.at(1)});
  return answers;
}

}  // namespace

void add_task_flags(CLI::App& command, TaskFlags& flags) {
  const std::string group = "Tasks";
  command.add_option("--tasks", flags.tasks, "Tasks in place of a text, comma-separated: names of `mlaforge tasks`, or paths of task files")->delimiter(',')->group(group);
  command.add_option("--batch-size", flags.batch, "Items at a time [by tokens for choices, 8 for generation]")->check(CLI::PositiveNumber)->group(group);
  command.add_option("--max-length", flags.max_length, "Tokens that the model may read [what it was trained for]")->check(CLI::PositiveNumber)->group(group);
  command.add_option("--num-fewshot", flags.shots, "Solved examples before each item [the task's own number]")->check(CLI::NonNegativeNumber)->group(group);
  command.add_option("--truncate", flags.truncate, "How LongBench's prompts are cut: longbench (its text), tokens (MHA2MLA) [longbench]")
      ->check(CLI::IsMember({"longbench", "tokens"}))->group(group);
  command.add_flag("--rouge-compat", flags.rouge_compat, "Score 0 where the package rouge runs into Python's recursion limit")->group(group);
  command.add_option("--template", flags.chat_template, "Chat template around each prompt: auto (the model's own, recognised by its hash), " + join(chat_template_names()) + " [none]")->group(group);
  command.add_flag_callback("--apply-chat-template", [&flags] { if (flags.chat_template.empty()) flags.chat_template = "auto"; }, "The same as --template auto")->group(group);
  add_decode_flag(command, flags.decode)->group(group);
  command.add_flag("--restart", flags.restart, "Begin an unfinished run anew instead of taking it up")->group(group);
}

void choose_chat(TaskFlags& flags, const std::filesystem::path& model) {
  if (flags.chat_template.empty()) return;
  if (flags.truncate == "tokens") fail<UsageError>("task", "wanted --truncate longbench beside --template: MHA2MLA's cut of tokens knows no chat template, got --truncate tokens");
  flags.chat = choose_chat_template(model, flags.chat_template);
}

std::vector<TaskSpec> find_tasks(const TaskFlags& flags, const std::string& data_root_given) {
  const std::filesystem::path root = data_root(data_root_given);
  const ItemOptions options = item_options(flags);
  std::vector<TaskSpec> specs;
  for (const std::string& name : flags.tasks) {
    specs.push_back(find_task(name));
    if (!flags.cache.own() && !is_generation(specs.back()))
      fail<UsageError>("task", "wanted tasks that generate beside --kv-cache, got ", specs.back().name,
                       ": its choices are read in one forward, which attends in full precision whatever the cache holds");
    if (!is_there(specs.back().data, root)) load_rows(specs.back().data, root);  // says where it was looked for and how to get it
    if (specs.back().kind != TaskKind::needle) build_items(specs.back(), root, options);  // a bad row is better found now than behind a loaded model
    if (needs_jieba(specs.back())) Jieba::load_found(jieba_roots(root));
  }
  return specs;
}

LoadedTask load_task(const TaskSpec& spec, const TaskFlags& flags, const std::string& root_given, const Tokenizer& tokenizer, int64_t max_position) {
  const std::filesystem::path root = data_root(root_given);
  const int64_t max_length = longest_input(flags, max_position);
  ItemOptions options = item_options(flags);
  options.chat = options.chat && spec.chat;
  if (flags.truncate == "tokens") options.context_chars = 8 * max_length;
  LoadedTask task{spec, spec.kind == TaskKind::needle ? needle_items(spec, root, tokenizer) : build_items(spec, root, options), protocol_of(spec, flags, max_length), root};
  if (flags.chat && spec.chat) wrap_items(spec, flags.chat->name, tokenizer, task.items);
  return task;
}

RunRecord task_record(const LoadedTask& task, const TaskFlags& flags, int64_t max_position, RunRecord record) {
  record.corpus = task.spec.name;
  record.protocol = task.protocol;
  record.config["task"] = {{"name", task.spec.name}, {"sha256", task.spec.sha256}, {"limit", flags.limit}, {"batch", flags.batch}, {"max_length", longest_input(flags, max_position)},
                           {"shots", flags.shots.value_or(task.spec.few_shot.count)}};
  if (flags.chat && task.spec.chat) record.config["chat_template"] = {{"name", flags.chat->name}, {"sha256", flags.chat->sha256}};
  if (flags.answer_kld) record.config["task"]["answer_kld"] = true;
  if (parse_decode_path(flags.decode) != DecodePath::automatic) record.config["task"]["decode"] = flags.decode;
  if (!flags.cache.own()) record.config["kv_cache"] = cache_format_json(flags.cache);
  record.stage_versions["task"] = 1;
  record.ad_hoc_limit = flags.limit > 0;
  record.inputs.push_back({"task_data", task.spec.data.file, task.items.data_sha256});
  record.warnings.insert(record.warnings.end(), task.items.warnings.begin(), task.items.warnings.end());
  return record;
}

TaskOutcome run_task(const LoadedTask& task, const TaskFlags& flags, const std::vector<StageModel>& stages, const Tokenizer& tokenizer, int64_t max_position,
                     RunRecord record, Store& store) {
  for (const std::string& warning : task.items.warnings) warn(warning);
  std::optional<Jieba> jieba;
  if (needs_jieba(task.spec)) jieba = Jieba::load_found(jieba_roots(task.root));
  const TaskRunOptions options = run_options(task, flags, max_position, jieba);
  TaskOutcome outcome;
  outcome.run_id = flags.restart ? store.begin_run(record) : store.resume_run(record);
  record_metrics(store, outcome.run_id, record, [&] {
    const std::vector<AnswerRow> have = store.answers(outcome.run_id, task.spec.name);
    outcome.taken_up = static_cast<int64_t>(have.size());
    if (!have.empty()) status("Resuming", "run " + std::to_string(outcome.run_id) + ", which has " + std::to_string(have.size()) + " answers");
    if (flags.division != nullptr) flags.division->from_first(places_of(have));
    const Stopwatch watch;
    answer_task({task.spec, task.items, tokenizer}, stages, options, have, *store.answer_sink(outcome.run_id));
    add_stage_time(record.times, {"answer", watch.seconds(), watch.cpu()});
    const std::vector<AnswerRow> answers = store.answers(outcome.run_id, task.spec.name);
    outcome.metrics = task_metrics(task.spec, task.items.choices.size() + task.items.generations.size(), answers, record.protocol);
    if (const Json decoding = is_generation(task.spec) ? task_decoding(answers) : Json(); !decoding.is_null()) record.library_versions["decode"] = decoding;
    return outcome.metrics;
  });
  outcome.record = record;
  return outcome;
}

void help_task(const LoadedTask& task, const TaskFlags& flags, const std::vector<StageModel>& stages, const Tokenizer& tokenizer, int64_t max_position) {
  NoAnswers sink;  // scored by the first process alone
  answer_task({task.spec, task.items, tokenizer}, stages, run_options(task, flags, max_position, std::nullopt), answers_at(task.spec.name, flags.division->from_first({})), sink);
}

}  // namespace mla
