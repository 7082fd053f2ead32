// The flags that several commands share: one struct and one add_* call per concern.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/calibration/samples.h"
#include "eval/stored_hidden.h"
#include "eval/windows.h"
#include "experiments/commands.h"

namespace mla {

struct ModelFlags {
  std::string model, data_root;
  std::string dtype = "fp32", device = "auto";
  int threads = 0;  // 0: LibTorch's choice
  bool deterministic = true;  // on a card: equal inputs give equal bits
};
void add_model_flags(CLI::App& command, ModelFlags& flags, bool required = true);

// One flag per option of any recipe; what the chosen recipe does not know is refused by method_options().
struct MethodFlags {
  std::string method;
  std::map<std::string, std::string> given;  // option name of the recipe -> text
};
void add_method_flags(CLI::App& command, MethodFlags& flags, bool required = true);
// The recipe's options as JSON. Throws ConfigError for an unknown method, UsageError naming the method for a foreign flag.
Json method_options(const MethodFlags& flags);

struct CalibrationFlags {
  std::string ids, dataset;  // --calibration-ids wins; exactly one is wanted
  SampleOptions samples;
  bool samples_given = false;  // --cal-nsamples; else the recipe may name its own number
  std::optional<int64_t> self_samples;  // further samples, written by the model; else the recipe's own number
  bool no_cache = false;
  std::string select_on = "calibration";  // what a search scores on: windows held out of the calibration, or the test windows
  std::string qk_norms, save_qk_norms;    // files of 2-norm ranks
};
void add_calibration_flags(CLI::App& command, CalibrationFlags& flags);
// For a recipe that needs statistics: UsageError when none or both sources are given.
void require_calibration(const CalibrationFlags& flags, const std::string& method);

struct CorpusFlags {
  std::string corpus;
  WindowOptions windows;
  int64_t limit = 0;  // ad hoc: cuts the windows after the protocol is named
  HiddenCacheOptions hidden;  // of the original that others are compared with
};
void add_corpus_flags(CLI::App& command, CorpusFlags& flags, bool required = true);

// "kv_lora_rank" -> "--kv-lora-rank"
std::string flag_of(const std::string& option);

}  // namespace mla
