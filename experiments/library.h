// What `mlaforge run` does, in three calls for other programs: convert, evaluate, record (docs/library.md). Errors are those of
// core/base/error.h; nothing is printed but progress on stderr (set_verbosity of core/base/progress.h silences it).
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/base/run_record.h"
#include "core/model/decoder.h"
#include "eval/perplexity.h"

namespace mla {

struct ConversionOptions {
  Json method = Json::object();  // the method's own options by name, as `mlaforge methods NAME` lists them: {{"freqfold", 4}}
  std::string calibration;       // text file or named text (`mlaforge run --cal-dataset`); empty for methods that need none
  std::optional<int64_t> calibration_samples;  // of 256 tokens; else 128, or the method's own number
  std::string dtype = "fp32", device = "auto";
  int threads = 0;               // 0: LibTorch's choice
  std::string data_root;         // folder of the named texts; else $MLAFORGE_DATA
};

// An original and its conversion, with what it is made of. Cheap to copy.
class ConvertedModel {
 public:
  const Decoder& original() const;
  const Decoder& converted() const;
  double cache_values() const, original_cache_values() const;  // per token and layer
  // Writes a folder that load_decoder and `mlaforge eval` read. Throws ConfigError when it exists and is not empty.
  void save(const std::filesystem::path& folder) const;

  struct Parts;
  const Parts& parts() const { return *parts_; }
  explicit ConvertedModel(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

 private:
  std::shared_ptr<const Parts> parts_;
};

// `model`: a GGUF file or a folder. Throws ConfigError (method, option, impossible sizes), CheckpointError, ResourceError.
ConvertedModel convert(const std::string& model, const std::string& method, const ConversionOptions& options = {});

struct Evaluation {
  RunRecord record;                // its identity equals that of the same `mlaforge run`
  std::vector<StageScore> stages;  // original, partial_rope where the method has it, mla
  std::vector<SampleRow> samples;  // per window

  const StageScore& stage(const std::string& name) const;  // ConfigError naming the known ones
};

// Perplexity of both models and divergences on a text file or a named text, cut into windows.
Evaluation evaluate(const ConvertedModel& model, const std::string& corpus, const WindowOptions& windows = {});

// Stores everything as a finished run and returns its id; the store is made when it is not there.
int64_t record(const Evaluation& evaluation, const std::filesystem::path& store);

}  // namespace mla
