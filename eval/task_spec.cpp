#include "eval/task_spec.h"

#include <algorithm>
#include <array>
#include <set>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/base/sha256.h"
#include "eval/instruct_rows.h"
#include "eval/task_keys.h"
#include "eval/task_steps.h"
#include "eval/task_template.h"
#include "eval/task_texts.h"

namespace mla {
namespace {

constexpr std::array kKinds{"multiple_choice", "partial_choice", "generation", "longbench", "needle"};
const std::vector<std::string> kMetrics{"acc", "acc_norm", "acc_bytes", "acc_norm_nospace"};

std::vector<std::string> formats() {
  std::vector<std::string> known{"json", "jsonl"};
  known.insert(known.end(), instruct_layouts().begin(), instruct_layouts().end());
  return known;
}

DataFile read_data(const Json& json, const std::string& where) {
  TaskKeys keys(json, where);
  DataFile data;
  data.file = keys.text("file");
  data.sha256 = keys.text_or("sha256", "");
  if (!data.sha256.empty() && (data.sha256.size() != 64 || data.sha256.find_first_not_of("0123456789abcdef") != std::string::npos))
    keys.wrong("sha256", "64 lower-case hex digits");
  data.rows = keys.whole("rows", 0);
  data.format = keys.one_of("format", "jsonl", formats());
  data.source = keys.text_or("source", "");
  data.licence = keys.text_or("licence", "");
  data.how = keys.text_or("how", "");
  keys.reject_unknown();
  return data;
}

std::string read_template(TaskKeys& keys, const std::string& key, const std::string& where) {
  const std::string text = keys.text_or(key, "");
  check_template(text, "'" + key + "' of " + where);
  return text;
}

// A list of templates, or one column that holds a list.
Json read_templates(TaskKeys& keys, const std::string& key, const std::string& where) {
  const Json value = keys.raw(key);
  const std::string place = "'" + key + "' of " + where;
  if (value.is_string()) {
    const std::string text = value;
    if (!text.starts_with('{') || !text.ends_with('}') || text.find_first_of("{}", 1) != text.size() - 1)
      keys.wrong(key, "a list of templates or one \"{column}\"");
    check_template(text, place);
  } else {
    if (!value.is_array() || value.empty()) keys.wrong(key, "a list of templates or one \"{column}\"");
    for (const std::string& each : keys.texts(key)) check_template(each, place);
  }
  return value;
}

GoldRule read_gold(const Json& json, const std::string& where) {
  TaskKeys keys(json, where);
  GoldRule gold{keys.text("column"), keys.text_or("in", ""), keys.texts("labels"), keys.whole("first", 0)};
  if (!gold.in.empty() && !gold.labels.empty()) keys.wrong("labels", "absent where there is 'in'");
  keys.reject_unknown();
  return gold;
}

FewShot read_few_shot(const Json& json, const std::string& where) {
  TaskKeys keys(json, where);
  FewShot few;
  few.count = keys.whole("count", 0);
  few.pool = read_data(keys.raw("pool"), where + ".pool");
  few.sampler = keys.one_of("sampler", "random", {"first", "random"});
  few.seed = keys.whole("seed", few.seed);
  few.prompt = read_template(keys, "prompt", where);
  few.target = read_template(keys, "target", where);
  few.delimiter = keys.text_or("delimiter", few.delimiter);
  few.same = keys.text_or("same", "");
  keys.reject_unknown();
  return few;
}

GenerationRule read_generation(const Json& json, const std::string& where) {
  TaskKeys keys(json, where);
  GenerationRule rule{keys.whole("max_new_tokens", 0), keys.texts("stop"), read_templates(keys, "answers", where)};
  if (rule.max_new_tokens == 0) keys.wrong("max_new_tokens", "at least 1");
  keys.reject_unknown();
  return rule;
}

std::vector<ScoreRule> read_scores(const Json& json, const std::string& where) {
  if (!json.is_object() || json.empty()) fail<ConfigError>("task", "wanted 'scores' in ", where, " as {\"metric\": \"scorer\"}, got ", json.type_name());
  std::vector<ScoreRule> scores;
  for (const auto& [metric, scorer] : json.items()) {
    if (!scorer.is_string()) fail<ConfigError>("task", "wanted the name of a scorer for '", metric, "' in ", where, ", got ", scorer.dump());
    scores.push_back({metric, scorer});
  }
  return scores;
}

std::vector<std::string> read_metrics(TaskKeys& keys, const std::string& where) {
  const std::vector<std::string> metrics = keys.texts("metrics");
  if (metrics.empty()) keys.wrong("metrics", "a list of metrics");
  for (const std::string& metric : metrics)
    if (std::find(kMetrics.begin(), kMetrics.end(), metric) == kMetrics.end())
      fail<ConfigError>("task", "unknown metric '", metric, "' in ", where, known_names_hint(metric, kMetrics));
  return metrics;
}

NeedleRule read_needle(const Json& json, const std::string& where) {
  TaskKeys keys(json, where);
  NeedleRule rule{read_template(keys, "needle", where), read_template(keys, "question", where), {}, {}, keys.whole("seed", 0)};
  const Json &lengths = keys.raw("lengths"), &depths = keys.raw("depths");
  if (!lengths.is_array() || lengths.empty()) keys.wrong("lengths", "a list of token counts");
  for (const Json& each : lengths) {
    if (!each.is_number_unsigned() || each.get<uint64_t>() < 1 || each.get<uint64_t>() > 1 << 24) keys.wrong("lengths", "whole numbers from 1");
    rule.lengths.push_back(each);
  }
  if (!depths.is_array() || depths.empty()) keys.wrong("depths", "a list of numbers");
  for (const Json& each : depths) {
    if (!each.is_number() || each.get<double>() < 0 || each.get<double>() > 1) keys.wrong("depths", "numbers from 0 to 1");
    rule.depths.push_back(each);
  }
  keys.reject_unknown();
  return rule;
}

void read_choices(TaskKeys& keys, TaskSpec& spec, const std::string& where) {
  if (spec.kind == TaskKind::multiple_choice) spec.choices = read_templates(keys, "choices", where);
  if (spec.kind == TaskKind::partial_choice) {
    spec.contexts = read_templates(keys, "contexts", where);
    spec.continuation = read_template(keys, "continuation", where);
  }
  spec.gold = read_gold(keys.raw("gold"), where + ".gold");
  spec.metrics = read_metrics(keys, where);
}

// What all kinds share. `keys` then knows these names.
TaskSpec read_common(TaskKeys& keys, const std::string& where) {
  TaskSpec spec;
  spec.name = keys.text("name");
  spec.summary = keys.text_or("summary", "");
  spec.protocol = keys.text("protocol");
  spec.note = keys.text_or("note", "");
  spec.version = keys.whole("version", 0);
  if (spec.version == 0) keys.wrong("version", "a whole number of at least 1");
  const std::string kind = keys.one_of("kind", "", {kKinds.begin(), kKinds.end()});
  spec.kind = static_cast<TaskKind>(std::find(kKinds.begin(), kKinds.end(), kind) - kKinds.begin());
  spec.chat = keys.flag("chat", true);
  if (keys.has("data")) spec.data = read_data(keys.raw("data"), where + ".data");
  else if (spec.kind != TaskKind::longbench) keys.wrong("data", "an object with 'file'");
  return spec;
}

TaskSpec read_plain(TaskKeys& keys, TaskSpec spec, const std::string& where) {
  spec.prepare = keys.has("prepare") ? keys.one_of("prepare", "", step_names()) : "";
  spec.id = keys.text_or("id", "");
  spec.description = read_template(keys, "description", where);
  spec.delimiter = keys.text_or("delimiter", spec.delimiter);
  if (spec.kind != TaskKind::partial_choice) {
    spec.prompt = read_template(keys, "prompt", where);
    if (spec.prompt.empty()) keys.wrong("prompt", "a template");
  }
  if (keys.has("few_shot")) spec.few_shot = read_few_shot(keys.raw("few_shot"), where + ".few_shot");
  if (spec.few_shot.prompt.empty()) spec.few_shot.prompt = spec.prompt;
  if (spec.kind == TaskKind::partial_choice && spec.few_shot.count > 0) keys.wrong("few_shot", "absent from a partial_choice task");
  if (spec.kind == TaskKind::generation) {
    spec.generation = read_generation(keys.raw("generation"), where + ".generation");
    spec.scores = read_scores(keys.raw("scores"), where);
  } else {
    read_choices(keys, spec, where);
  }
  return spec;
}

// One task per entry of "datasets": {"name", "metric", "chat", "first_line", "minimum_one", "e", "sha256", "rows"}.
std::vector<TaskSpec> read_longbench(TaskKeys& keys, const TaskSpec& common, const std::string& where) {
  const DataFile prompts = read_data(keys.raw("prompts"), where + ".prompts"), limits = read_data(keys.raw("limits"), where + ".limits");
  const DataFile rows = read_data(keys.raw("rows_of"), where + ".rows_of");
  const Json& datasets = keys.raw("datasets");
  if (!datasets.is_array() || datasets.empty()) keys.wrong("datasets", "a list of objects");
  std::vector<TaskSpec> specs;
  for (const Json& entry : datasets) {
    const std::string place = where + ".datasets";
    TaskKeys one(entry, place);
    TaskSpec spec = common;
    const std::string dataset = one.text("name"), metric = one.text("metric");
    spec.id = "_id";
    spec.chat = one.flag("chat", true);
    spec.scores = {{metric, metric}};
    spec.longbench = {dataset, prompts, limits, one.flag("first_line", false), one.flag("minimum_one", false), false};
    if (spec.longbench.minimum_one) spec.generation.stop = {"\n"};
    spec.data = rows;
    spec.data.sha256 = one.text_or("sha256", "");
    spec.data.rows = one.whole("rows", 200);
    const bool in_e = one.flag("e", false);
    one.reject_unknown();
    const auto add = [&](const std::string& group, const std::string& file) {
      spec.name = group + "/" + dataset;
      spec.data.file = render(rows.file, {{"dataset", file}}, place);
      specs.push_back(spec);
    };
    add(common.name, dataset);
    if (!in_e) continue;
    spec.data.sha256 = "";
    spec.data.rows = 0;  // the E files have 300 items or fewer, by set
    spec.longbench.by_length = true;
    add(common.name + "_e", dataset + "_e");
  }
  return specs;
}

}  // namespace

const char* name_of(TaskKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

std::vector<TaskSpec> parse_task_specs(std::string_view text, const std::string& where) {
  Json json;
  try {
    json = parse_json(text, where, {.allow_comments = true});
  } catch (const CheckpointError& error) {
    fail<ConfigError>("task", "wanted a task's JSON object: ", error.what());
  }
  TaskKeys keys(json, where);
  TaskSpec common = read_common(keys, where);
  common.sha256 = sha256_hex(text);
  std::vector<TaskSpec> specs;
  if (common.kind == TaskKind::longbench) {
    specs = read_longbench(keys, common, where);
  } else if (common.kind == TaskKind::needle) {
    common.generation = read_generation(keys.raw("generation"), where + ".generation");
    common.scores = read_scores(keys.raw("scores"), where);
    common.prompt = read_template(keys, "prompt", where);
    common.needle = read_needle(keys.raw("needle"), where + ".needle");
    specs = {common};
  } else {
    specs = {read_plain(keys, common, where)};
  }
  keys.reject_unknown();
  return specs;
}

const std::vector<TaskSpec>& builtin_tasks() {
  static const std::vector<TaskSpec> tasks = [] {
    std::vector<TaskSpec> all;
    for (const TaskText& file : task_texts())
      for (TaskSpec& spec : parse_task_specs(file.text, std::string("eval/tasks/") + file.name)) all.push_back(std::move(spec));
    std::sort(all.begin(), all.end(), [](const TaskSpec& a, const TaskSpec& b) { return a.name < b.name; });
    for (std::size_t i = 1; i < all.size(); ++i)
      if (all[i].name == all[i - 1].name) fail<ConfigError>("task", "wanted each name once in eval/tasks, got '", all[i].name, "' twice");
    return all;
  }();
  return tasks;
}

TaskSpec find_task(const std::string& name) {
  std::vector<std::string> names;
  for (const TaskSpec& spec : builtin_tasks()) {
    if (spec.name == name) return spec;
    names.push_back(spec.name);
  }
  std::error_code ignored;
  if (!name.ends_with(".json") || !std::filesystem::is_regular_file(name, ignored))
    fail<ConfigError>("task", "wanted a task or the path of a task's JSON file, got '", name, "'", known_names_hint(name, names));
  const std::vector<TaskSpec> own = parse_task_specs(read_text_file(name, std::size_t{1} << 20), name);
  if (own.size() != 1) fail<ConfigError>("task", "wanted one task in ", name, ", got ", own.size());
  if (std::find(names.begin(), names.end(), own[0].name) != names.end())
    fail<ConfigError>("task", "wanted a name of its own in ", name, ", got '", own[0].name, "', which the program has");
  return own[0];
}

}  // namespace mla
