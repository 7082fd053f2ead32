#include <cstdio>
#include <iostream>

#include "core/base/names.h"
#include "eval/task_data.h"
#include "eval/task_spec.h"
#include "experiments/commands.h"
#include "experiments/data_root.h"
#include "experiments/run_options.h"

namespace mla {
namespace {

struct Flags {
  std::string name, root, format = "text";
};

std::vector<std::string> metrics_of(const TaskSpec& spec) {
  std::vector<std::string> names = spec.metrics;
  for (const ScoreRule& score : spec.scores) names.push_back(score.metric);
  return names;
}

// Every file that the task reads.
std::vector<const DataFile*> files_of(const TaskSpec& spec) {
  std::vector<const DataFile*> files{&spec.data};
  if (!spec.few_shot.pool.file.empty()) files.push_back(&spec.few_shot.pool);
  if (spec.kind == TaskKind::longbench) files.insert(files.end(), {&spec.longbench.prompts, &spec.longbench.limits});
  return files;
}

bool all_there(const TaskSpec& spec, const std::filesystem::path& root) {
  for (const DataFile* file : files_of(spec))
    if (!is_there(*file, root)) return false;
  return true;
}

std::string place_text(const DataFile& file, const std::filesystem::path& root) {
  const std::filesystem::path place = place_of(file, root);
  return place.empty() ? file.file + " below a data root, of which there is none" : place.string();
}

std::string rows_text(const DataFile& data) { return data.rows == 0 ? "-" : std::to_string(data.rows); }

Json describe(const TaskSpec& spec, const std::filesystem::path& root) {
  Json files = Json::array();
  for (const DataFile* file : files_of(spec))
    files.push_back({{"path", place_text(*file, root)}, {"there", is_there(*file, root)}, {"format", file->format}, {"sha256", file->sha256},
                     {"rows", file->rows}, {"source", file->source}, {"licence", file->licence}, {"how", file->how}});
  return {{"task", spec.name}, {"summary", spec.summary}, {"protocol", spec.protocol}, {"kind", name_of(spec.kind)}, {"version", spec.version},
          {"rows", spec.data.rows}, {"metrics", metrics_of(spec)}, {"shots", spec.few_shot.count}, {"chat", spec.chat}, {"note", spec.note},
          {"sha256", spec.sha256}, {"files", files}};
}

void print_one(const TaskSpec& spec, const std::filesystem::path& root) {
  std::printf("%s: %s\n", spec.name.c_str(), spec.summary.c_str());
  std::printf("  protocol %s, version %lld, %s, rows %s, shots %lld\n", spec.protocol.c_str(), static_cast<long long>(spec.version),
              name_of(spec.kind), rows_text(spec.data).c_str(), static_cast<long long>(spec.few_shot.count));
  std::printf("  metrics %s\n", join(metrics_of(spec)).c_str());
  if (!spec.note.empty()) std::printf("  note: %s\n", spec.note.c_str());
  for (const DataFile* file : files_of(spec)) {
    const bool there = is_there(*file, root);
    std::printf("  %s %s\n", there ? "data" : "missing; looked for", place_text(*file, root).c_str());
    if (!there && !file->how.empty()) std::printf("    %s\n", file->how.c_str());
    if (!file->source.empty()) std::printf("    from %s; licence: %s\n", file->source.c_str(), file->licence.c_str());
  }
}

void print_all(const std::filesystem::path& root) {
  std::printf("%-35s %-15s %-13s %6s %-8s %s\n", "Task", "Kind", "Protocol", "Rows", "Data", "Metrics");
  for (const TaskSpec& spec : builtin_tasks())
    std::printf("%-35s %-15s %-13s %6s %-8s %s\n", spec.name.c_str(), name_of(spec.kind), spec.protocol.c_str(), rows_text(spec.data).c_str(),
                all_there(spec, root) ? "there" : "missing", join(metrics_of(spec), " ").c_str());
}

void list_tasks(const Flags& flags) {
  const std::filesystem::path root = data_root(flags.root);
  std::vector<TaskSpec> chosen;
  if (!flags.name.empty()) chosen.push_back(find_task(flags.name));
  if (flags.format == "json") {
    Json all = Json::array();
    for (const TaskSpec& spec : flags.name.empty() ? builtin_tasks() : chosen) all.push_back(describe(spec, root));
    std::cout << all.dump(2) << '\n';
  } else if (chosen.empty()) {
    print_all(root);
  } else {
    print_one(chosen[0], root);
  }
}

}  // namespace

void add_tasks_command(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("tasks", "List the evaluation tasks: protocol, size, metrics, where their data lies or how to get it");
  command->add_option("task", flags->name, "Only this task: a name, or the path of a task file of your own");
  command->add_option("--data-root", flags->root, "Folder that holds the data [$MLAFORGE_DATA]");
  add_format_flag(*command, flags->format, {"text", "json"});
  add_examples(*command, "  mlaforge tasks\n  mlaforge tasks hellaswag\n  mlaforge tasks longbench/multi_news --data-root /data\n"
                         "  mlaforge tasks ./my_task.json\n  mlaforge tasks --format json\n");
  command->callback([flags] { list_tasks(*flags); });
}

}  // namespace mla
