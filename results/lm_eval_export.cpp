#include "results/lm_eval_export.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <map>
#include <set>

#include "core/base/error.h"
#include "core/base/names.h"
#include "results/kld_block.h"

namespace mla {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct TaskRun {
  int64_t id = 0;
  std::string stage;
  RunRecord record;
  std::vector<Metric> metrics;  // of the stage
};

// "acc" -> {"acc", "none"}; "exact_match,strict-match" -> {"exact_match", "strict-match"}
std::pair<std::string, std::string> metric_and_filter(const std::string& name) {
  const std::size_t comma = name.find(',');
  return comma == std::string::npos ? std::pair{name, std::string("none")} : std::pair{name.substr(0, comma), name.substr(comma + 1)};
}

std::vector<int64_t> finished_task_runs(const Database& database, const std::string& model) {
  Statement read(database,
                 "SELECT r.id FROM run r WHERE r.status = 'done' AND r.ad_hoc_limit = 0 AND (?1 = '' OR r.model = ?1) "
                 "AND EXISTS (SELECT 1 FROM answer a WHERE a.run_id = r.id) AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done') ORDER BY r.id");
  read.bind(1, std::string_view(model));
  std::vector<int64_t> ids;
  while (read.step()) ids.push_back(read.integer(0));
  return ids;
}

std::string stage_of(const std::vector<Metric>& metrics, const std::string& wanted, int64_t id) {
  std::set<std::string> stages;
  for (const Metric& metric : metrics) stages.insert(metric.stage);
  const std::string stage = !wanted.empty() ? wanted : stages.count("mla") > 0 ? "mla" : "original";
  if (stages.count(stage) == 0) fail<ConfigError>("export", "wanted stage ", stage, " of run ", id, ", got ", join({stages.begin(), stages.end()}));
  return stage;
}

TaskRun read_task_run(const Store& store, int64_t id, const std::string& wanted_stage) {
  auto [record, metrics] = store.read_run(id);
  if (record.status != RunStatus::done) fail<ConfigError>("export", "wanted a finished run, got run ", id, ", which is ", to_string(record.status), "; the command that began it takes it up again");
  if (!record.config.is_object() || !record.config.contains("task")) fail<ConfigError>("export", "wanted runs over tasks, got run ", id, " over ", record.corpus, "; `mlaforge eval --tasks` makes them");
  TaskRun run{id, stage_of(metrics, wanted_stage, id), std::move(record), {}};
  for (Metric& metric : metrics)
    if (metric.stage == run.stage && !in_kld_block(metric.name)) run.metrics.push_back(std::move(metric));
  return run;
}

// What one results file is of.
std::string subject_of(const TaskRun& run) {
  const std::string label = run.stage == "original" ? "original" : run.record.config.value("label", run.record.method);
  return run.record.model + " (" + label + ", " + run.record.dtype + ")";
}

std::vector<TaskRun> select(const Store& store, const LmEvalSelection& selection) {
  const std::vector<int64_t> ids = selection.runs.empty() ? finished_task_runs(store.database(), selection.model) : selection.runs;
  if (ids.empty()) fail<ConfigError>("export", "wanted finished runs over tasks in ", store.database().path().string(), ", got none; `mlaforge eval --tasks` makes them");
  std::vector<TaskRun> runs;
  std::map<std::string, int64_t> by_task;
  for (const int64_t id : ids) {
    runs.push_back(read_task_run(store, id, selection.stage));
    const auto [known, is_new] = by_task.emplace(runs.back().record.corpus, id);
    if (subject_of(runs.back()) != subject_of(runs.front()))
      fail<ConfigError>("export", "wanted runs of one model, got ", subject_of(runs.front()), " in run ", runs.front().id, " and ", subject_of(runs.back()), " in run ", id, "; name the runs, or narrow by --model");
    if (!is_new) fail<ConfigError>("export", "wanted one run of each task, got runs ", known->second, " and ", id, " of ", runs.back().record.corpus, "; name the runs");
  }
  std::sort(runs.begin(), runs.end(), [](const TaskRun& a, const TaskRun& b) { return a.record.corpus < b.record.corpus; });
  return runs;
}

// The number behind `mark` in a protocol such as "lm-eval/v3/shots0", or null.
OrderedJson number_in_protocol(const std::string& protocol, const std::string& mark) {
  for (std::size_t at = protocol.find('/'); at != std::string::npos; at = protocol.find('/', at + 1)) {
    if (protocol.compare(at + 1, mark.size(), mark) != 0) continue;
    const char* digits = protocol.c_str() + at + 1 + mark.size();
    char* end = nullptr;
    const long value = std::strtol(digits, &end, 10);
    if (end != digits && (*end == '/' || *end == '\0')) return value;
  }
  return nullptr;
}

OrderedJson shots_of(const TaskRun& run) {
  const Json& task = run.record.config.at("task");
  if (task.is_object() && task.contains("shots") && task.at("shots").is_number_integer()) return task.at("shots").get<int64_t>();
  return number_in_protocol(run.record.protocol, "shots");
}

int64_t items_of(const TaskRun& run) {
  int64_t items = 0;
  for (const Metric& metric : run.metrics) items = std::max(items, metric.count);
  return items;
}

OrderedJson values_of(const TaskRun& run) {
  OrderedJson values{{"name", run.record.corpus}, {"alias", run.record.corpus}, {"sample_len", items_of(run)}};
  for (const Metric& metric : run.metrics) {
    const auto [name, filter] = metric_and_filter(metric.name);
    values[name + ',' + filter] = metric.value;
    values[name + "_stderr," + filter] = metric.std_error ? OrderedJson(*metric.std_error) : OrderedJson("N/A");
  }
  return values;
}

OrderedJson directions_of(const TaskRun& run) {
  OrderedJson directions = OrderedJson::object();
  for (const Metric& metric : run.metrics) directions[metric_and_filter(metric.name).first] = metric.better == Better::neither ? OrderedJson() : OrderedJson(metric.better == Better::higher);
  return directions;
}

// Of a time the store wrote: 2026-01-31T12:00:00Z.
OrderedJson unix_time(const std::string& utc) {
  std::tm parts{};
  if (strptime(utc.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) == nullptr) return nullptr;
  return static_cast<double>(timegm(&parts));
}

std::string sanitized(const std::string& name, const char* wrong, const char* replacement) {
  std::string text;
  for (std::size_t at = 0; at < name.size();) {
    const std::size_t run = name.find_first_not_of(wrong, at);
    if (run == at) text += name[at++];
    else text += replacement, at = run == std::string::npos ? name.size() : run;
  }
  return text;
}

OrderedJson original_items(const TaskRun& run) {
  return run.record.ad_hoc_limit ? OrderedJson() : OrderedJson(items_of(run));  // how many a cut left out is not stored
}

OrderedJson config_of(const TaskRun& run) {
  const Json& task = run.record.config.at("task");
  OrderedJson config{{"task", run.record.corpus}, {"num_fewshot", shots_of(run)}, {"metadata", {{"version", number_in_protocol(run.record.protocol, "v")}}}, {"protocol", run.record.protocol}};
  if (task.is_object() && task.contains("sha256")) config["task_sha256"] = task.at("sha256");
  for (const InputHash& input : run.record.inputs)
    if (input.role == "task_data") config["data_sha256"] = input.sha256;
  return config;
}

// As the user gave it. A run with --reference read two models.
std::string path_of(const TaskRun& run) {
  const auto of_role = [&](const char* role) {
    const auto found = std::find_if(run.record.inputs.begin(), run.record.inputs.end(), [&](const InputHash& input) { return input.role == role; });
    return found == run.record.inputs.end() ? std::string() : found->path;
  };
  const std::string reference = run.stage == "original" ? of_role("reference") : "", judged = of_role("checkpoint");
  return !reference.empty() ? reference : !judged.empty() ? judged : run.record.model;
}

OrderedJson settings_of(const TaskRun& run) {
  const Json& task = run.record.config.at("task");
  const int64_t limit = task.is_object() ? task.value("limit", int64_t{0}) : 0;
  return {{"model", "mlaforge"},
          {"model_args", {{"pretrained", path_of(run)}, {"dtype", run.record.dtype}, {"method", subject_of(run)}}},
          {"model_dtype", run.record.dtype},
          {"batch_size", task.is_object() && task.value("batch", int64_t{0}) > 0 ? OrderedJson(task.at("batch").get<int64_t>()) : OrderedJson("auto")},
          {"batch_sizes", OrderedJson::array()},
          {"device", run.record.device},
          {"use_cache", nullptr},
          {"limit", limit > 0 ? OrderedJson(limit) : OrderedJson()},
          {"bootstrap_iters", 0},
          {"gen_kwargs", OrderedJson::object()},
          {"random_seed", nullptr}, {"numpy_seed", nullptr}, {"torch_seed", nullptr}, {"fewshot_seed", 1234}};
}

// Ours alone, under a key of its own.
OrderedJson origin_of(const std::vector<TaskRun>& runs) {
  OrderedJson origin = OrderedJson::array();
  for (const TaskRun& run : runs)
    origin.push_back({{"run", run.id}, {"identity", run_identity(run.record)}, {"task", run.record.corpus}, {"protocol", run.record.protocol}, {"stage", run.stage},
                      {"kv_values", run.record.kv_values ? OrderedJson(*run.record.kv_values) : OrderedJson()}, {"threads", run.record.threads},
                      {"host", run.record.host}, {"git_dirty", run.record.git_dirty}, {"warnings", run.record.warnings}});
  return origin;
}

void add_ending(const std::vector<TaskRun>& runs, OrderedJson& out) {
  const TaskRun& first = runs.front();
  std::string begun = first.record.started_at, ended = first.record.finished_at;
  double seconds = 0;
  for (const TaskRun& run : runs) {
    begun = std::min(begun, run.record.started_at);
    ended = std::max(ended, run.record.finished_at);
    for (const StageTime& time : run.record.times) seconds += time.seconds;
  }
  out["git_hash"] = first.record.git_commit;
  out["date"] = unix_time(begun);
  for (const char* absent : {"transformers_version", "lm_eval_version", "upper_git_hash"}) out[absent] = nullptr;
  const Json& task = first.record.config.at("task");
  out["max_length"] = task.is_object() && task.contains("max_length") ? OrderedJson(task.at("max_length").get<int64_t>()) : OrderedJson();
  out["task_hashes"] = OrderedJson::object();
  out["model_source"] = "mlaforge";
  out["model_name"] = path_of(first);
  out["model_name_sanitized"] = sanitized(path_of(first), "\"<>:/|\\?*[]", "__");
  for (const char* absent : {"system_instruction", "system_instruction_sha", "fewshot_as_multiturn", "chat_template", "chat_template_sha"}) out[absent] = nullptr;
  out["start_time"] = unix_time(begun);
  out["end_time"] = unix_time(ended);
  out["total_evaluation_time_seconds"] = OrderedJson(seconds).dump();
  out["mlaforge"] = origin_of(runs);
}

// The values of one item by filter, from the answer's detail.
std::map<std::string, OrderedJson> values_by_filter(const Json& detail) {
  std::map<std::string, OrderedJson> filters;
  if (detail.is_object() && detail.contains("metrics"))
    for (const auto& [name, value] : detail.at("metrics").items()) filters[metric_and_filter(name).second][metric_and_filter(name).first] = value;
  return filters;
}

OrderedJson responses_of(const AnswerRow& row, const Json& detail) {
  if (!detail.contains("ll")) return OrderedJson::array({row.prediction});
  OrderedJson responses = OrderedJson::array();
  for (std::size_t i = 0; i < detail.at("ll").size(); ++i)  // lm_eval spells them as Python does
    responses.push_back({detail.at("ll")[i].dump(), detail.contains("greedy") && detail.at("greedy").at(i).get<bool>() ? "True" : "False"});
  return responses;
}

std::string sample_lines(const std::vector<AnswerRow>& rows) {
  std::string text;
  for (const AnswerRow& row : rows) {
    const Json detail = parse_json(row.detail, "an answer in the run database");
    const OrderedJson responses = responses_of(row, detail);
    OrderedJson raw = OrderedJson::array();
    for (const OrderedJson& one : responses) raw.push_back(OrderedJson::array({one}));
    for (const auto& [filter, values] : values_by_filter(detail)) {
      OrderedJson names = OrderedJson::array();
      for (const auto& item : values.items()) names.push_back(item.key());
      OrderedJson line{{"doc_id", row.position}, {"doc", {{"id", row.item}}}, {"target", row.gold}, {"arguments", OrderedJson::object()}, {"resps", raw},
                       {"filtered_resps", responses}, {"filter", filter}, {"metrics", names}, {"prompt_hash", row.prompt_sha256}};
      line.update(values);
      text += line.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + '\n';
    }
  }
  return text;
}

}  // namespace

OrderedJson lm_eval_results(const Store& store, const LmEvalSelection& selection) {
  const std::vector<TaskRun> runs = select(store, selection);
  OrderedJson out;
  for (const char* part : {"results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples"}) out[part] = OrderedJson::object();
  for (const TaskRun& run : runs) {
    const std::string& task = run.record.corpus;
    out["results"][task] = values_of(run);
    out["configs"][task] = config_of(run);
    out["versions"][task] = number_in_protocol(run.record.protocol, "v");
    if (const OrderedJson shots = shots_of(run); !shots.is_null()) out["n-shot"][task] = shots;
    out["higher_is_better"][task] = directions_of(run);
    out["n-samples"][task] = {{"original", original_items(run)}, {"effective", items_of(run)}};
  }
  out["config"] = settings_of(runs.front());
  add_ending(runs, out);
  return out;
}

std::vector<LmEvalSamples> lm_eval_samples(const Store& store, const LmEvalSelection& selection) {
  std::vector<LmEvalSamples> all;
  for (const TaskRun& run : select(store, selection)) {
    const std::string date = sanitized(run.record.started_at, ":", "-"), task = run.record.corpus;
    all.push_back({task, "samples_" + sanitized(task, "\"<>:/|\\?*[] \t\n", "_") + '_' + date + ".jsonl", sample_lines(store.answers(run.id, task, run.stage))});
  }
  return all;
}

}  // namespace mla
