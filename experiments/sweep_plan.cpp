#include "experiments/sweep_plan.h"

#include <algorithm>
#include <set>
#include <thread>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/sha256.h"
#include "core/checkpoint/checkpoint.h"
#include "eval/task_data.h"
#include "experiments/build_info.h"
#include "experiments/data_root.h"
#include "experiments/model_record.h"

namespace mla {
namespace {

namespace fs = std::filesystem;

// Flags of `run` that a job may not set: they are the sweep's own.
const std::set<std::string> kOwnFlags{"threads", "save_qk_norms", "restart"};
constexpr std::size_t kMostListed = 10;

std::string underscored_name(const CLI::Option& option) {
  std::string name = option.get_lnames().empty() ? "" : option.get_lnames().front();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// What `run` knows, with whether a flag takes a value.
std::map<std::string, bool> run_flags() {
  CLI::App app;
  RunRequest request;
  add_run_request_flags(app, request);
  std::map<std::string, bool> flags;
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = underscored_name(*option);
    if (!name.empty() && name != "help" && kOwnFlags.count(name) == 0) flags[name] = option->get_items_expected_max() > 0;
  }
  return flags;
}

std::vector<std::string> words_of(const SweepFlags& flags) {
  static const std::map<std::string, bool> known = run_flags();
  return command_line(flags, [](const std::string& key) { return known.at(key); });
}

RunRequest request_of(const SweepFlags& flags) {
  CLI::App app;
  RunRequest request;
  add_run_request_flags(app, request);
  std::vector<std::string> words = words_of(flags);
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    fail<ConfigError>("sweep", error.what());
  }
  return request;
}

// Configurations of the models that a sweep names, each read once.
class Models {
 public:
  const ModelConfig& config(const std::string& model) {
    auto found = configs_.find(model);
    if (found == configs_.end()) found = configs_.emplace(model, Checkpoint::open(find_model(model))->config()).first;
    return found->second;
  }
  std::map<std::string, int64_t> sizes(const std::string& model) {
    const ModelConfig& c = config(model);
    return {{"vocab_size", c.vocab_size}, {"hidden_size", c.hidden_size}, {"intermediate_size", c.intermediate_size}, {"num_layers", c.num_layers},
            {"num_heads", c.num_heads}, {"num_kv_heads", c.num_kv_heads}, {"head_dim", c.head_dim}, {"max_position", c.max_position},
            {"kv_values", 2 * c.num_kv_heads * c.head_dim}};
  }

 private:
  std::map<std::string, ModelConfig> configs_;
};

// The recipe's own checks, and that a calibration is named where one is wanted. Returns the label.
std::string check(const RunRequest& request, const ModelConfig& config) {
  if (request.corpus.corpus.empty() && request.tasks.tasks.empty()) fail<ConfigError>("sweep", "wanted a text (corpus), tasks or both, got neither");
  if (request.method.method == kOriginal) return kOriginal;
  const Recipe recipe = find_recipe(request.method.method).make(method_options(request.method), config);
  if (recipe.needs().any() || !recipe.healers.empty()) require_calibration(request.calibration, recipe.label);
  return recipe.label;
}

// Files by content, the rest by text.
std::string key_of(const SweepFlags& flags, const RunRequest& request) {
  static const std::set<std::string> paths{"model", "corpus", "cal_dataset", "calibration_ids", "qk_norms", "data_root"};
  Json plain = Json::object(), inputs = Json::object();
  for (const auto& [flag, value] : flags)
    if (paths.count(flag) == 0) plain[flag] = value;
  const std::string& root = request.model.data_root;
  inputs["model"] = sha256_of_path(find_model(request.model.model));
  if (!request.corpus.corpus.empty()) inputs["corpus"] = sha256_of_path(find_text(request.corpus.corpus, TextRole::corpus, root).path);
  for (const std::string& name : request.tasks.tasks) {
    const TaskSpec spec = find_task(name);
    const fs::path data = data_root(root);
    if (!is_there(spec.data, data)) load_rows(spec.data, data);  // says where it was looked for and how to get it
    inputs["tasks"][spec.name] = {spec.sha256, sha256_of_path(place_of(spec.data, data))};
  }
  if (!request.calibration.dataset.empty()) inputs["calibration"] = sha256_of_path(find_text(request.calibration.dataset, TextRole::calibration, root).path);
  if (!request.calibration.ids.empty()) inputs["ids"] = sha256_of_path(request.calibration.ids);
  if (!request.calibration.qk_norms.empty()) inputs["qk_norms"] = sha256_of_path(request.calibration.qk_norms);
  return sha256_hex(Json{{"flags", plain}, {"inputs", inputs}, {"stages", run_stage_versions()}}.dump());
}

SweepFlags overrides_of(const SweepFlagSet& flags) {
  SweepFlags overrides;
  for (const std::string& each : flags.set) {
    const std::size_t equals = each.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == each.size()) fail<UsageError>("sweep", "wanted --set KEY=VALUES, got --set ", each);
    std::string key = each.substr(0, equals);
    std::replace(key.begin(), key.end(), '-', '_');
    overrides[key] = each.substr(equals + 1);
  }
  if (!flags.data_root.empty()) overrides["data_root"] = flags.data_root;
  return overrides;
}

fs::path config_folder() { return fs::path(build_info().source_dir) / "experiments" / "configs"; }

int worker_threads(const SweepFlagSet& flags) {
  if (flags.threads > 0) return flags.threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / std::max(1, flags.workers));
}

void refuse(const std::vector<std::string>& impossible, std::size_t of) {
  std::string listed;
  for (std::size_t i = 0; i < std::min(kMostListed, impossible.size()); ++i) listed += "; " + impossible[i];
  if (impossible.size() > kMostListed) listed += "; and " + std::to_string(impossible.size() - kMostListed) + " more";
  fail<ConfigError>("sweep", "wanted configurations that fit their model, got ", impossible.size(), " of ", of,
                    " that do not (\"impossible\": \"skip\" in the file leaves them out)", listed);
}

// Only the jobs whose keys begin so; a beginning that is none's is refused.
void keep_only(const std::vector<std::string>& beginnings, SweepPlan& plan) {
  std::vector<PlannedJob> kept;
  for (const std::string& beginning : beginnings) {
    const auto found = std::find_if(plan.jobs.begin(), plan.jobs.end(), [&](const PlannedJob& each) { return each.job.key.starts_with(beginning); });
    if (beginning.empty() || found == plan.jobs.end())
      fail<ConfigError>("sweep", "wanted --job to begin a configuration's key, got '", beginning, "'; `--dry-run --format json` prints the keys. A key changes with "
                        "the flags, the contents of model and texts, the threads and the program's stages");
    kept.push_back(*found);
  }
  plan.jobs = std::move(kept);
}

}  // namespace

fs::path find_sweep(const std::string& name) {
  if (fs::exists(name)) return name;
  const fs::path shipped = config_folder() / (name + ".json");
  if (name.find('/') == std::string::npos && fs::exists(shipped)) return shipped;
  std::vector<std::string> known;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(config_folder(), none)) known.push_back(entry.path().stem().string());
  std::sort(known.begin(), known.end());
  fail<CheckpointError>("sweep", "wanted a sweep file or a name of ", config_folder().string(), ", got '", name, "'", known_names_hint(name, known));
}

SweepPlan plan_sweep(const SweepFlagSet& flags) {
  Models models;
  SweepContext context;
  for (const auto& [name, takes_value] : run_flags()) context.flags.push_back(name);
  context.model_sizes = [&](const std::string& model) { return models.sizes(model); };
  context.overrides = overrides_of(flags);
  SweepPlan plan{read_sweep(find_sweep(flags.file), context), {}, {}, worker_threads(flags)};
  for (const SweepFlags& each : plan.file.jobs) {
    PlannedJob planned;
    try {
      planned.request = request_of(each);
      planned.job.label = check(planned.request, models.config(planned.request.model.model));
    } catch (const CheckpointError&) {
      throw;  // a file that is not there is no matter of one configuration
    } catch (const Error& error) {
      const std::string method = each.count("method") != 0 ? each.at("method") : "without a method";
      plan.impossible.push_back(method + ' ' + Json(each).dump() + ": " + error.what());
      continue;
    }
    SweepFlags with_threads = each;
    with_threads["threads"] = std::to_string(plan.threads);
    planned.job.flags = with_threads;
    planned.job.key = key_of(with_threads, planned.request);
    plan.jobs.push_back(std::move(planned));
  }
  if (!plan.impossible.empty() && (!plan.file.skip_impossible || plan.jobs.empty())) refuse(plan.impossible, plan.file.jobs.size());
  if (!flags.jobs.empty()) keep_only(flags.jobs, plan);
  return plan;
}

std::vector<std::string> run_command(const SweepFlagSet& flags, const Job& job) {
  SweepFlags own = job.flags.get<SweepFlags>();
  const std::string threads = own.at("threads");
  own.erase("threads");
  std::vector<std::string> words{"run"};
  for (std::string& word : words_of(own)) words.push_back(std::move(word));
  for (const std::string& word : {std::string("--threads"), threads, std::string("--store"), flags.store, std::string("--skip-done")}) words.push_back(word);
  return words;
}

}  // namespace mla
