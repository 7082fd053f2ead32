// Tasks from their files to their rows in the store: one run per task.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/base/run_record.h"
#include "eval/task_runner.h"
#include "experiments/session.h"
#include "results/store.h"

namespace mla {

struct TaskFlags {
  std::vector<std::string> tasks;  // names, or paths of task files
  int64_t batch = 0, max_length = 0, limit = 0;
  std::optional<int64_t> shots;
  std::string truncate = "longbench";
  bool rouge_compat = false;
  bool answer_kld = false;  // see TaskRunOptions
  bool restart = false;  // an unfinished run is not taken up again
  CacheFormat cache;     // of generation; no flag of its own
  std::string decode = "auto";  // --decode
  std::string chat_template;  // --template: a name, auto, or empty for none
  std::optional<ChatChoice> chat;  // what the model makes of it, see choose_chat()
  Division* division = nullptr;    // processes that answer together; null: this one alone
};
void add_task_flags(CLI::App& command, TaskFlags& flags);

// A task with its items, read before any model is.
struct LoadedTask {
  TaskSpec spec;
  TaskItems items;
  std::string protocol;  // "lm-eval/v1", "lm-eval/v3/shots0", "longbench/v1/tokens-2048"
  std::filesystem::path root;  // the data root
};

struct TaskOutcome {
  int64_t run_id = 0;
  RunRecord record;
  std::vector<Metric> metrics;
  int64_t taken_up = 0;  // answers that an earlier attempt left
  bool found_done = false;  // it was in the store already
};

// Sets flags.chat where a template was asked for. Throws as choose_chat_template does, UsageError beside --truncate tokens.
void choose_chat(TaskFlags& flags, const std::filesystem::path& model);

// Everything that can be refused before a model is read. Throws ConfigError, CheckpointError.
std::vector<TaskSpec> find_tasks(const TaskFlags& flags, const std::string& data_root);
LoadedTask load_task(const TaskSpec& spec, const TaskFlags& flags, const std::string& root, const Tokenizer& tokenizer, int64_t max_position);

// The record with what the task adds to it: its identity is final.
RunRecord task_record(const LoadedTask& task, const TaskFlags& flags, int64_t max_position, RunRecord record);

// `record` is task_record()'s. Stages as score_windows has them. Throws as answer_task does, the run marked.
TaskOutcome run_task(const LoadedTask& task, const TaskFlags& flags, const std::vector<StageModel>& stages, const Tokenizer& tokenizer, int64_t max_position,
                     RunRecord record, Store& store);

// The share of a process that is not the first one of flags.division: the first one has the record and the store. Throws as answer_task does.
void help_task(const LoadedTask& task, const TaskFlags& flags, const std::vector<StageModel>& stages, const Tokenizer& tokenizer, int64_t max_position);

}  // namespace mla
