// An experiment as a file: cross products of the flags of `mlaforge run`, with exclusions and dependent values.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/base/expression.h"
#include "core/base/json.h"

namespace mla {

// One configuration: flags of `run` by name, underscored and without dashes ("cal_nsamples" -> "32").
using SweepFlags = std::map<std::string, std::string>;

struct SweepFile {
  std::string name, description, source;
  std::vector<SweepFlags> jobs;  // distinct, in the order of the file
  int64_t excluded = 0, repeated = 0;
  bool skip_impossible = false;  // "impossible": "skip": what does not fit the model is left out and counted, else refused
};

struct SweepContext {
  std::vector<std::string> flags;  // what `run` knows, underscored
  // Sizes of a model that expressions may name (head_dim, num_kv_heads, ...): by the text of the flag `model`.
  std::function<std::map<std::string, int64_t>(const std::string& model)> model_sizes;
  SweepFlags overrides;  // --set key=values: in place of what base and grids say
};

// {"name", "description", "source", "impossible": "refuse" | "skip", "base": {flags of every grid}, "grids": [{flag: values, ...,
//   "vars": {name: values that only expressions see}, "derive": {flag: expression}, "exclude": [expression | {flag: value}]}]}
// Values: experiments/sweep/sweep_values.h. Expressions: core/base/expression.h; they see the configuration's flags and vars and the
// model's sizes. Keys may be written with dashes. Throws ConfigError naming place and key: an unknown one with the nearest known,
// nothing left after the exclusions, more than 100,000 configurations.
SweepFile expand_sweep(const Json& file, const SweepContext& context, const std::string& where);
SweepFile read_sweep(const std::filesystem::path& path, const SweepContext& context);  // comments allowed; CheckpointError for no JSON

// {"freqfold": "4"} -> --freqfold 4; a flag that takes no value is given by `true` and left away by `false`.
std::vector<std::string> command_line(const SweepFlags& flags, const std::function<bool(const std::string&)>& takes_value);

}  // namespace mla
