// What every command does before its own work: device, threads, model, tokenizer.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/base/run_record.h"
#include "core/model/layer_stream.h"
#include "core/tokenizer/tokenizer.h"
#include "experiments/run_options.h"

namespace mla {

// "SmolLM2-135M-Instruct.Q4_1" from a file, the folder's name from a folder, whatever slashes it ends in.
std::string display_name(const std::filesystem::path& path);

struct LoadedModel {
  std::string name;    // for tables: the checkpoint's file or folder name without .gguf
  std::string path;    // as given
  Json conversion;     // mla_conversion.json of a converted folder, else null
  Decoder decoder;
  std::shared_ptr<const Tokenizer> tokenizer;
  const char* dtype = "fp32";
  std::string device;  // "cpu", "cuda"
  int threads = 1;
  bool deterministic = true;
};

// mla_conversion.json of a converted folder, null of any other model.
Json conversion_of(const std::filesystem::path& path);

// Sets the threads, opens the device, reads tokenizer and weights. Throws as Checkpoint::open and parse_dtype do.
LoadedModel load_model(const ModelFlags& flags);
// The same without the layers, which are read when they are wanted: `model.decoder` is the frame of `layers`.
struct OpenedModel {
  LoadedModel model;
  LayerStream layers;
};
OpenedModel open_model(const ModelFlags& flags);

// sha256 of checkpoint and tokenizer, as inputs of a run.
std::vector<InputHash> model_inputs(const LoadedModel& model);

// The parts of a record that name program, machine, argv and start time.
RunRecord program_record(const std::vector<std::string>& argv);
// The same with the model: what does not depend on what is run.
RunRecord new_record(const LoadedModel& model, const std::vector<std::string>& argv);

// Appends the wall and CPU time of its life to `times`, adding to a stage of the same name.
class StageTimer {
 public:
  StageTimer(std::vector<StageTime>& times, std::string stage);
  ~StageTimer();
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

 private:
  std::vector<StageTime>& times_;
  std::string stage_;
  double wall_, cpu_;
};
void add_stage_time(std::vector<StageTime>& times, const StageTime& more);

}  // namespace mla
