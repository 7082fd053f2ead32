// One evaluation task as data: what eval/tasks/*.json and a user's own file say, checked key by key. docs/evaluation.md, "Tasks".
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/base/json.h"

namespace mla {

enum class TaskKind {
  multiple_choice,  // one context, several continuations
  partial_choice,   // several contexts, one continuation (winogrande of lm-eval)
  generation,
  longbench,        // generation; the prompt and the limit come from the benchmark's own two files
  needle,           // generation; a fact hidden in a long text
};
const char* name_of(TaskKind kind);

struct DataFile {
  std::string file;    // below the data root, or as the user gave it
  std::string sha256;  // of the known version; empty where none was fixed
  int64_t rows = 0;    // 0: not fixed
  std::string format = "jsonl";  // jsonl, json (an array of objects), or a layout of eval/instruct_rows.h
  std::string source, licence, how;
};

// Solved examples before the question.
struct FewShot {
  int64_t count = 0;
  DataFile pool;
  std::string sampler = "random";  // random: Python's Random(seed).sample, drawn item after item; first: the pool's first rows
  int64_t seed = 1234;
  std::string prompt, target;      // templates of one example
  std::string delimiter = "\n\n";
  std::string same;                // only pool rows whose column of this name equals the item's
};

// Which choice is right: the position of column `field` among `labels` or in column `in`, else its number less `first`.
struct GoldRule {
  std::string field, in;
  std::vector<std::string> labels;
  int64_t first = 0;
};

struct GenerationRule {
  int64_t max_new_tokens = 0;
  std::vector<std::string> stop;
  Json answers;  // a template for a list, or a list of templates
};

struct ScoreRule {
  std::string metric, scorer;  // the scorer's name is one of eval/scorers
};

struct LongBenchRule {
  std::string dataset;   // key of the two files below
  DataFile prompts, limits;
  bool first_line = false;  // score only the first line
  bool minimum_one = false; // samsum: a line break stops it, but not before one token
  bool by_length = false;   // LongBench-E: three means, by the row's length
};

struct NeedleRule {
  std::string needle, question;  // templates over {city} and {number}
  std::vector<int64_t> lengths;  // tokens
  std::vector<double> depths;    // 0 first, 1 last
  int64_t seed = 0;
};

struct TaskSpec {
  std::string name, summary, protocol, note;
  int64_t version = 0;
  TaskKind kind = TaskKind::multiple_choice;
  DataFile data;
  std::string prepare;      // named step of eval/task_steps.h, or empty
  std::string id;           // column that names a row; empty: its number from 0
  std::string description, prompt, delimiter = " ", continuation;
  Json choices, contexts;   // a template for a list, or a list of templates
  GoldRule gold;
  FewShot few_shot;
  GenerationRule generation;
  std::vector<ScoreRule> scores;     // of generation
  std::vector<std::string> metrics;  // of choices: acc, acc_norm, acc_bytes, acc_norm_nospace
  bool chat = true;                  // may be wrapped into the model's chat template
  LongBenchRule longbench;
  NeedleRule needle;
  std::string sha256;                // of the text that defined it
};

// A file may define several tasks (LongBench). Throws ConfigError naming the key, and the nearest known one for a key that
// is not known; `where` names the source.
std::vector<TaskSpec> parse_task_specs(std::string_view text, const std::string& where);
// Every task of the program, sorted by name.
const std::vector<TaskSpec>& builtin_tasks();
// A name of builtin_tasks(), or the path of a JSON file with exactly one task. Throws ConfigError.
TaskSpec find_task(const std::string& name);

}  // namespace mla
