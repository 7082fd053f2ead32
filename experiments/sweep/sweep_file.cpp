#include "experiments/sweep/sweep_file.h"

#include <algorithm>
#include <optional>
#include <set>

#include "core/base/error.h"
#include "core/base/names.h"
#include "experiments/sweep/sweep_values.h"

namespace mla {
namespace {

constexpr std::size_t kMostJobs = 100'000;

// --set takes the file's grammar, and a JSON list where a value has commas of its own: tasks=["arc_easy,piqa"].
Json given_value(const std::string& text) {
  if (!text.starts_with("[")) return text;
  Json list = Json::parse(text, nullptr, false);
  return list.is_array() ? list : Json(text);
}

std::string underscored(std::string key) {
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

void require_object(const Json& json, const std::string& where) {
  if (!json.is_object()) fail<ConfigError>("sweep", "wanted an object for ", where, ", got ", json.type_name());
}

void require_known(const std::string& key, const std::vector<std::string>& known, const std::string& where) {
  if (std::find(known.begin(), known.end(), key) == known.end())
    fail<ConfigError>("sweep", "unknown key '", key, "' in ", where, known_names_hint(key, known));
}

std::string text_key(const Json& file, const char* key, const std::string& where) {
  const auto found = file.find(key);
  if (found == file.end()) return "";
  if (!found->is_string()) fail<ConfigError>("sweep", "wanted a text for '", key, "' of ", where, ", got ", found->type_name());
  return *found;
}

// One axis of a product.
struct Axis {
  std::string key;
  std::vector<std::string> values;
};

// A grid as it is read: its axes, and what is made of each point.
class Grid {
 public:
  Grid(const Json& base, const Json& grid, const SweepContext& context, const std::string& where) : context_(context), where_(where) {
    require_object(grid, where);
    if (const auto vars = grid.find("vars"); vars != grid.end()) add_vars(*vars);
    std::map<std::string, Axis> axes;
    const auto add = [&](const Json& flags, const std::string& place) {
      for (const auto& [given, value] : flags.items()) {
        const std::string key = underscored(given);
        if (key == "vars" || key == "derive" || key == "exclude") continue;
        require_known(key, context.flags, place);
        axes[key] = {key, sweep_values(value, "'" + given + "' of " + place)};
      }
    };
    add(base, "base");
    add(grid, where);
    for (const auto& [key, text] : context.overrides) axes[key] = {key, sweep_values(given_value(text), "--set " + key)};
    if (const auto derive = grid.find("derive"); derive != grid.end()) add_derived(*derive, axes);
    for (auto& [key, axis] : axes) axes_.push_back(std::move(axis));
    if (const auto exclude = grid.find("exclude"); exclude != grid.end()) add_exclusions(*exclude);
  }

  // Calls `take` with the flags of every point that no exclusion meets; returns how many were excluded.
  int64_t each(const std::function<void(SweepFlags)>& take) const {
    int64_t excluded = 0;
    std::vector<std::size_t> at(axes_.size(), 0);
    for (;;) {
      SweepFlags point;
      for (std::size_t i = 0; i < axes_.size(); ++i) point[axes_[i].key] = axes_[i].values[at[i]];
      derive(point);
      if (excludes(point)) ++excluded;
      else take(without_vars(std::move(point)));
      std::size_t axis = axes_.size();
      while (axis > 0 && ++at[axis - 1] == axes_[axis - 1].values.size()) at[--axis] = 0;  // the last axis runs fastest
      if (axis == 0) return excluded;
    }
  }

 private:
  void add_vars(const Json& vars) {
    require_object(vars, "'vars' of " + where_);
    for (const auto& [name, value] : vars.items()) {
      if (std::find(context_.flags.begin(), context_.flags.end(), name) != context_.flags.end())
        fail<ConfigError>("sweep", "wanted a name in 'vars' of ", where_, " that is no flag of run, got '", name, "'");
      axes_.push_back({name, sweep_values(value, "'" + name + "' in 'vars' of " + where_)});
      vars_.insert(name);
    }
  }
  void add_derived(const Json& derive, const std::map<std::string, Axis>& axes) {
    require_object(derive, "'derive' of " + where_);
    for (const auto& [given, value] : derive.items()) {
      const std::string key = underscored(given);
      require_known(key, context_.flags, "'derive' of " + where_);
      if (!value.is_string()) fail<ConfigError>("sweep", "wanted an expression for '", given, "' in 'derive' of ", where_, ", got ", value.dump());
      if (axes.count(key) != 0) {
        if (context_.overrides.count(key) != 0) continue;  // --set says it
        fail<ConfigError>("sweep", "wanted '", given, "' of ", where_, " either as values or in 'derive', got both");
      }
      derived_[key] = value;
    }
  }
  void add_exclusions(const Json& exclude) {
    if (!exclude.is_array()) fail<ConfigError>("sweep", "wanted a list for 'exclude' of ", where_, ", got ", exclude.type_name());
    for (const Json& each : exclude) {
      if (each.is_object()) {
        for (const auto& [given, value] : each.items()) {
          const std::string key = underscored(given);
          if (vars_.count(key) == 0) require_known(key, context_.flags, "'exclude' of " + where_);
          sweep_values(value, "'" + given + "' in 'exclude' of " + where_);
        }
      } else if (!each.is_string()) {
        fail<ConfigError>("sweep", "wanted expressions or objects in 'exclude' of ", where_, ", got ", each.dump());
      }
      exclusions_.push_back(each);
    }
  }

  ExpressionValue value_of(const SweepFlags& point, const std::string& name) const {
    if (const auto found = point.find(name); found != point.end()) return value_of_text(found->second);
    const auto model = point.find("model");
    const std::map<std::string, int64_t> sizes = model != point.end() ? context_.model_sizes(model->second) : std::map<std::string, int64_t>();
    if (const auto found = sizes.find(name); found != sizes.end()) return found->second;
    if (std::find(context_.flags.begin(), context_.flags.end(), name) != context_.flags.end()) return std::string();  // a flag that is not given
    std::vector<std::string> known;
    for (const auto& [key, value] : point) known.push_back(key);
    for (const auto& [key, value] : sizes) known.push_back(key);
    fail<ConfigError>("sweep", "unknown name '", name, "' in an expression of ", where_, known_names_hint(name, known));
  }

  void derive(SweepFlags& point) const {
    SweepFlags more;
    for (const auto& [key, expression] : derived_)
      more[key] = text_of_value(evaluate(expression, [&](const std::string& name) { return value_of(point, name); }));
    point.merge(more);
  }

  bool excludes(const SweepFlags& point) const {
    for (const Json& exclusion : exclusions_) {
      if (exclusion.is_string()) {
        const ExpressionValue met = evaluate(exclusion.get<std::string>(), [&](const std::string& name) { return value_of(point, name); });
        if (std::holds_alternative<std::string>(met)) fail<ConfigError>("sweep", "wanted a condition in 'exclude' of ", where_, ", got ", exclusion.dump());
        if (met != ExpressionValue(int64_t{0})) return true;
        continue;
      }
      const auto items = exclusion.items();
      if (std::all_of(items.begin(), items.end(), [&](const auto& item) {
            const auto found = point.find(underscored(item.key()));
            const std::vector<std::string> values = sweep_values(item.value(), where_);
            return std::find(values.begin(), values.end(), found == point.end() ? "" : found->second) != values.end();
          }))
        return true;
    }
    return false;
  }

  SweepFlags without_vars(SweepFlags point) const {
    std::erase_if(point, [&](const auto& flag) { return vars_.count(flag.first) != 0 || flag.second.empty(); });
    return point;
  }

  const SweepContext& context_;
  std::string where_;
  std::vector<Axis> axes_;
  std::set<std::string> vars_;
  std::map<std::string, std::string> derived_;
  std::vector<Json> exclusions_;
};

}  // namespace

SweepFile expand_sweep(const Json& file, const SweepContext& context, const std::string& where) {
  static const std::vector<std::string> known{"name", "description", "source", "impossible", "base", "grids"};
  require_object(file, where);
  for (const auto& [key, value] : file.items()) require_known(key, known, where);
  for (const auto& [key, value] : context.overrides) require_known(key, context.flags, "--set");
  SweepFile sweep{text_key(file, "name", where), text_key(file, "description", where), text_key(file, "source", where), {}, 0, 0, false};
  const std::string impossible = text_key(file, "impossible", where);
  if (!impossible.empty() && impossible != "refuse" && impossible != "skip")
    fail<ConfigError>("sweep", "wanted refuse or skip for 'impossible' of ", where, ", got '", impossible, "'");
  sweep.skip_impossible = impossible == "skip";
  if (sweep.name.empty()) fail<ConfigError>("sweep", "wanted a 'name' in ", where);
  const Json base = file.value("base", Json::object());
  require_object(base, "'base' of " + where);
  const auto grids = file.find("grids");
  if (grids == file.end() || !grids->is_array() || grids->empty()) fail<ConfigError>("sweep", "wanted a list 'grids' with at least one in ", where);
  std::set<SweepFlags> seen;
  for (std::size_t i = 0; i < grids->size(); ++i) {
    const Grid grid(base, (*grids)[i], context, "grids[" + std::to_string(i) + "]");
    sweep.excluded += grid.each([&](SweepFlags flags) {
      if (!seen.insert(flags).second) {
        ++sweep.repeated;
        return;
      }
      if (seen.size() > kMostJobs) fail<ConfigError>("sweep", "wanted at most ", kMostJobs, " configurations in ", where, ", got more");
      sweep.jobs.push_back(std::move(flags));
    });
  }
  if (sweep.jobs.empty()) fail<ConfigError>("sweep", "wanted at least one configuration in ", where, ", got none: its exclusions meet all ", sweep.excluded);
  return sweep;
}

SweepFile read_sweep(const std::filesystem::path& path, const SweepContext& context) {
  return expand_sweep(read_json_file(path, {.max_bytes = std::size_t{16} << 20, .allow_comments = true}), context, path.string());
}

std::vector<std::string> command_line(const SweepFlags& flags, const std::function<bool(const std::string&)>& takes_value) {
  std::vector<std::string> words;
  for (const auto& [key, value] : flags) {
    std::string flag = "--" + key;
    std::replace(flag.begin(), flag.end(), '_', '-');
    const bool with_value = takes_value(key);
    if (!with_value && value != "true" && value != "false")
      fail<ConfigError>("sweep", "wanted true or false for the flag '", key, "', got ", value);
    if (with_value || value == "true") words.push_back(flag);
    if (with_value) words.push_back(value);
  }
  return words;
}

}  // namespace mla
