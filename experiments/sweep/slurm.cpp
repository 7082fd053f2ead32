#include "experiments/sweep/slurm.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/shell.h"
#include "experiments/sweep/child_process.h"

namespace mla {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
constexpr int kNotFound = 127;          // of env, when there is no such program
constexpr int kSecondsToCommit = 120;   // between Slurm's SIGINT and its SIGKILL at the time limit

struct Answer {
  int code = 0;
  std::string out, err;
};

Answer call(std::vector<std::string> words) {
  words.insert(words.begin(), "env");
  ChildProcess child("/usr/bin/env", words);
  while (!child.ended()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return {child.code(), child.out(), child.err()};
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// sbatch's answer to --parsable: "ID" or "ID;CLUSTER".
std::string sbatch(std::vector<std::string> words) {
  words.insert(words.begin(), {"sbatch", "--parsable"});
  const Answer answer = call(words);
  if (answer.code == kNotFound)
    fail<ResourceError>("sweep", "wanted Slurm's sbatch on the PATH, found none; --no-submit writes the array's files, --launcher print the plain commands");
  const std::string id = first_line(answer.out).substr(0, first_line(answer.out).find(';'));
  if (answer.code != 0 || id.empty() || id.find_first_not_of("0123456789") != std::string::npos)
    fail<ResourceError>("sweep", "sbatch refused ", words.back(), ": ", first_line(answer.err.empty() ? answer.out : answer.err));
  return id;
}

// A path inside #SBATCH: quoted, with % as itself and not as a pattern.
std::string header_path(const fs::path& path) {
  const std::string text = path.string();
  if (text.find_first_of("\"\\\n") != std::string::npos)
    fail<ConfigError>("sweep", "wanted a store path without quotes, backslashes and line ends for Slurm's headers, got ", text);
  std::string escaped;
  for (const char c : text) escaped += c == '%' ? "%%" : std::string(1, c);
  return escaped;
}

void require_plain(const std::string& option) {
  if (!option.starts_with("-") || option.find('\n') != std::string::npos)
    fail<UsageError>("sweep", "wanted an sbatch option such as --slurm=--partition=main, got '", option, "'");
}

std::string array_script(const SlurmArray& array, const fs::path& folder, std::size_t tasks) {
  std::string text = "#!/bin/bash\n#SBATCH --job-name=\"mlaforge " + array.name + "\"\n";
  for (const std::string& option : array.options) text += "#SBATCH " + option + '\n';
  text += "#SBATCH --array=0-" + std::to_string(tasks - 1) + (array.running > 0 ? "%" + std::to_string(array.running) : "") + '\n';
  text += "#SBATCH --cpus-per-task=" + std::to_string(array.cpus) + '\n';
  text += "#SBATCH --output=\"" + header_path(folder / "logs") + "/%a.out\"\n";
  text += "#SBATCH --signal=B:INT@" + std::to_string(kSecondsToCommit) + '\n';
  text += "# Line N+1 of `tasks` holds the configurations of task N. At the time limit the program is asked to commit and stop.\n";
  text += "jobs=$(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))p\" " + shell_word((folder / "tasks").string()) + ")\n";
  text += "exec " + shell_line({array.program, "sweep", (folder / "sweep.json").string()}) + ' ' + shell_line(array.flags) + " $jobs --store " + shell_word((folder / "stores").string()) + "/$SLURM_ARRAY_TASK_ID.db\n";
  return text;
}

std::string merge_script(const SlurmArray& array, const fs::path& folder) {
  std::string text = "#!/bin/bash\n#SBATCH --job-name=\"mlaforge merge " + array.name + "\"\n";
  for (const std::string& option : array.options) text += "#SBATCH " + option + '\n';
  text += "#SBATCH --output=\"" + header_path(folder / "logs") + "/merge.out\"\n";
  text += "# One by one, so that a database that a lost node left broken keeps no other from the store.\nfailed=0\n";
  text += "for each in " + shell_word((folder / "stores").string()) + "/*.db; do\n";
  text += "  " + shell_word(array.program) + " runs merge \"$each\" --store " + shell_word(array.store.string()) + " || failed=1\ndone\nexit \"$failed\"\n";
  return text;
}

std::string task_lines(const SlurmArray& array, std::size_t& tasks) {
  const auto most = static_cast<std::size_t>(std::max<int64_t>(1, array.most_tasks));
  const std::size_t each = (array.jobs.size() + most - 1) / most;
  std::string text;
  tasks = 0;
  for (std::size_t first = 0; first < array.jobs.size(); first += each, ++tasks) {
    for (std::size_t i = first; i < std::min(first + each, array.jobs.size()); ++i) text += (i > first ? " --job " : "--job ") + array.jobs[i];
    text += '\n';
  }
  return text;
}

// Folders NUMBER of one sweep, in order.
std::vector<fs::path> arrays_of(const fs::path& store, const std::string& sweep) {
  std::vector<fs::path> folders;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(slurm_folder(store) / sweep, none))
    if (entry.is_directory() && entry.path().filename().string().find_first_not_of("0123456789") == std::string::npos) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  return folders;
}

fs::path next_folder(const SlurmArray& array) {
  const std::vector<fs::path> known = arrays_of(array.store, array.name);
  const int last = known.empty() ? 0 : std::stoi(known.back().filename().string());
  std::string number = std::to_string(last + 1);
  number.insert(0, 4 - std::min<std::size_t>(4, number.size()), '0');
  return slurm_folder(array.store) / array.name / number;
}

}  // namespace

fs::path slurm_folder(const fs::path& store) { return fs::absolute(store).lexically_normal().string() + ".slurm"; }

std::vector<fs::path> array_stores(const fs::path& store, const std::string& sweep) {
  std::vector<fs::path> stores;
  for (const fs::path& folder : arrays_of(store, sweep)) {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(folder / "stores", none))
      if (entry.path().extension() == ".db") stores.push_back(entry.path());
  }
  std::sort(stores.begin(), stores.end());
  return stores;
}

fs::path write_array(const SlurmArray& array) {
  if (array.jobs.empty()) fail<ConfigError>("sweep", "wanted at least one configuration for a Slurm array, got none");
  if (array.name.empty() || array.name.find_first_not_of(kNameCharacters) != std::string::npos)
    fail<ConfigError>("sweep", "wanted a sweep's name of letters, digits, '_' and '-' for the folder of its Slurm arrays, got '", array.name, "'");
  for (const std::string& option : array.options) require_plain(option);
  const fs::path folder = next_folder(array), fresh = folder.string() + ".new";
  std::size_t tasks = 0;
  const std::string lines = task_lines(array, tasks), script = array_script(array, folder, tasks), merge = merge_script(array, folder);
  std::error_code error;
  fs::remove_all(fresh, error);
  for (const char* name : {"logs", "stores"}) {
    fs::create_directories(fresh / name, error);
    if (error) fail<ResourceError>("sweep", "cannot make the folder ", (fresh / name).string(), ": ", error.message());
  }
  write_file_atomically(fresh / "sweep.json", array.sweep);
  write_file_atomically(fresh / "tasks", lines);
  write_file_atomically(fresh / "array.sh", script);
  write_file_atomically(fresh / "merge.sh", merge);
  fs::rename(fresh, folder, error);
  if (error) fail<ResourceError>("sweep", "cannot rename ", fresh.string(), " to ", folder.string(), ": ", error.message());
  return folder;
}

Submitted submit_array(const fs::path& folder) {
  Submitted submitted;
  submitted.array = sbatch({(folder / "array.sh").string()});
  try {
    submitted.merge = sbatch({"--dependency=afterany:" + submitted.array, (folder / "merge.sh").string()});
    write_file_atomically(folder / "submitted", submitted.array + '\n' + submitted.merge + '\n');
  } catch (...) {
    call({"scancel", submitted.array});
    if (!submitted.merge.empty()) call({"scancel", submitted.merge});
    throw;
  }
  return submitted;
}

std::vector<std::string> arrays_in_queue(const fs::path& store, const std::string& sweep) {
  std::vector<std::string> queued;
  for (const fs::path& folder : arrays_of(store, sweep)) {
    if (!fs::exists(folder / "submitted")) continue;
    const std::string id = first_line(read_text_file(folder / "submitted"));
    if (const Answer answer = call({"squeue", "--noheader", "--jobs=" + id}); answer.code == 0 && !answer.out.empty()) queued.push_back(id);
  }
  return queued;
}

}  // namespace mla
