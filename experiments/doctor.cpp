#include "experiments/doctor.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/base/process.h"
#include "core/distributed/process_group.h"
#include "eval/task_data.h"
#include "eval/task_spec.h"
#include "experiments/build_info.h"
#include "experiments/data_root.h"
#include "results/integrity.h"
#include "results/schema.h"

namespace mla {
namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kLittleSpaceMib = 2048;

std::string mib(uintmax_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

// The first executable of that name on the PATH; empty where there is none.
fs::path on_path(const std::string& name) {
  const char* variable = std::getenv("PATH");
  std::string rest = variable != nullptr ? variable : "";
  while (!rest.empty()) {
    const std::size_t colon = rest.find(':');
    const fs::path candidate = fs::path(rest.substr(0, colon)) / name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  return {};
}

fs::path existing_parent(const fs::path& path) {
  std::error_code ignored;
  fs::path folder = fs::absolute(path, ignored);
  while (!fs::is_directory(folder, ignored) && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

void add_space(std::vector<Check>& checks, const std::string& section, const std::string& name, const fs::path& place) {
  std::error_code error;
  const fs::path folder = existing_parent(place);
  const fs::space_info space = fs::space(folder, error);
  if (error) return checks.push_back({section, name, Finding::warning, "unknown: " + error.message(), folder.string()});
  const bool writable = access(folder.c_str(), W_OK) == 0;
  const bool little = (space.available >> 20) < kLittleSpaceMib;
  checks.push_back({section, name, writable && !little ? Finding::ok : Finding::warning, mib(space.available) + " free at " + folder.string() + (writable ? "" : ", not writable"),
                    !writable ? "choose another folder" : little ? "statistics and conversions take hundreds of MiB" : ""});
}

void add_program(std::vector<Check>& checks) {
  const BuildInfo& build = build_info();
  checks.push_back({"program", "mlaforge", build.git_dirty ? Finding::warning : Finding::ok,
                    std::string(build.version) + ", commit " + build.git_commit + ", " + build.build_type + ", " + build.compiler,
                    build.git_dirty ? "built from a changed checkout: rows say so" : ""});
  if (std::string(build.build_type) != "Release") checks.push_back({"program", "build type", Finding::warning, build.build_type, "measure times with the preset release"});
  checks.push_back({"program", "several processes", ProcessGroup::available() ? Finding::ok : Finding::missing, ProcessGroup::available() ? "Gloo" : "built without Gloo's headers",
                    ProcessGroup::available() ? "" : "for `eval` under torchrun or srun: Debian package libgloo-dev, then configure again"});
  const Json versions = library_versions();
  for (const auto& [name, version] : versions.items())
    if (name != "compiler") checks.push_back({"program", name, Finding::ok, version.is_string() ? version.get<std::string>() : version.dump(), ""});
}

void add_machine(std::vector<Check>& checks) {
  checks.push_back({"machine", "host", Finding::ok, host_name(), ""});
  checks.push_back({"machine", "cores", Finding::ok, std::to_string(std::thread::hardware_concurrency()), ""});
  checks.push_back({"machine", "memory", Finding::ok, std::to_string(static_cast<int64_t>(memory_mib("MemAvailable:"))) + " of " +
                                                          std::to_string(static_cast<int64_t>(memory_mib("MemTotal:"))) + " MiB available", ""});
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  checks.push_back({"machine", "CUDA driver", driver != nullptr ? Finding::ok : Finding::missing, driver != nullptr ? "libcuda.so.1" : "none",
                    driver != nullptr ? "" : "for --device cuda"});
  if (driver != nullptr) dlclose(driver);
}

void add_tools(std::vector<Check>& checks) {
  static const std::vector<std::pair<const char*, const char*>> tools{
      {"gnuplot", "for `mlaforge plot`: Debian package gnuplot-nox"}, {"sbatch", "for `sweep --launcher slurm`"}, {"sqlite3", "to query a store by hand"},
      {"nvcc", "to build the CUDA operators"}};
  for (const auto& [name, use] : tools) {
    const fs::path found = on_path(name);
    checks.push_back({"tools", name, found.empty() ? Finding::missing : Finding::ok, found.empty() ? "not on the PATH" : found.string(), found.empty() ? use : ""});
  }
}

void add_texts(std::vector<Check>& checks, const std::string& root) {
  const fs::path place = data_root(root);
  checks.push_back({"texts", "data root", place.empty() ? Finding::missing : Finding::ok, place.empty() ? "none" : place.string(),
                    place.empty() ? "--data-root or MLAFORGE_DATA; the demo and the tests do without" : ""});
  for (const std::string& name : text_names()) {
    try {
      const Text text = find_text(name, TextRole::calibration, root);
      checks.push_back({"texts", name, text.warning ? Finding::warning : Finding::ok, text.warning.value_or(text.path.string()), ""});
    } catch (const CheckpointError& error) {
      const std::string message = error.what();
      const std::size_t how = message.rfind("; ");
      checks.push_back({"texts", name, Finding::missing, "not there", how == std::string::npos ? message : message.substr(how + 2)});
    } catch (const Error& error) {
      checks.push_back({"texts", name, Finding::ok, error.what(), ""});
    }
  }
  int64_t there = 0, all = 0;
  for (const TaskSpec& spec : builtin_tasks()) {
    ++all;
    there += is_there(spec.data, place);
  }
  checks.push_back({"tasks", "rows of tasks", there == all ? Finding::ok : Finding::missing, std::to_string(there) + " of " + std::to_string(all) + " tasks have their file",
                    there == all ? "" : "`mlaforge tasks` says which, `mlaforge tasks NAME` how to get it"});
}

void add_store(std::vector<Check>& checks, const std::string& store) {
  std::error_code ignored;
  add_space(checks, "store", "space", store);
  if (!fs::exists(store, ignored)) return checks.push_back({"store", store, Finding::missing, "not there yet", "the first run makes it"});
  const StoreHealth health = check_store(store);
  if (!health.problems.empty()) {
    for (const std::string& problem : health.problems) checks.push_back({"store", store, Finding::broken, problem, ""});
    checks.back().needed = "stop its writers, keep a copy, then `sqlite3 " + store + " .recover | sqlite3 saved.db`, or merge the stores that it came from";
    return;
  }
  checks.push_back({"store", store, Finding::ok, mib(health.bytes) + ", whole; schema " + std::to_string(health.schema) + ", " + std::to_string(health.runs) + " runs, " +
                                                     std::to_string(health.metrics) + " metrics", ""});
  if (health.schema < kSchemaVersion) checks.push_back({"store", "schema", Finding::warning, std::to_string(health.schema), "the next run brings it to " + std::to_string(kSchemaVersion)});
  if (health.schema > kSchemaVersion) checks.push_back({"store", "schema", Finding::warning, std::to_string(health.schema), "newer than this program, which can only read it"});
  if (health.running > 0)
    checks.push_back({"store", "unfinished", Finding::warning, std::to_string(health.running) + " runs are marked running", "at work, or killed: the same command goes on with them"});
  if (health.journal) checks.push_back({"store", "journal", Finding::warning, "a rollback journal lies beside it", "a writer is at work, or was killed: the next one repairs it"});
}

}  // namespace

double memory_mib(const char* key) {
  std::ifstream info("/proc/meminfo");
  std::string name;
  double kib = 0;
  for (std::string unit; info >> name >> kib && std::getline(info, unit);)
    if (name == key) return kib / 1024;
  return 0;
}

const char* name_of(Finding finding) {
  switch (finding) {
    case Finding::ok: return "ok";
    case Finding::missing: return "missing";
    case Finding::warning: return "warning";
    case Finding::broken: return "broken";
  }
  return "";
}

std::vector<Check> examine(const std::string& store, const std::string& data_root) {
  std::vector<Check> checks;
  add_program(checks);
  add_machine(checks);
  add_tools(checks);
  add_texts(checks, data_root);
  add_space(checks, "cache", "space", cache_root());
  add_store(checks, store);
  return checks;
}

}  // namespace mla
