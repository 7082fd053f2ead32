// `mlaforge convert --stream`: a checkpoint larger than memory, layer by layer from its files to new ones. docs/export.md.
#pragma once
#include <optional>
#include <string>

#include "experiments/model_export.h"
#include "experiments/run_options.h"

namespace mla {

// The model streams by itself where its weights, in the dtype that was asked for, need more than this share of the free memory.
inline constexpr double kShareOfMemory = 0.5;

struct StreamRequest {
  ModelFlags model;
  MethodFlags method;
  CalibrationFlags calibration;
  ExportFlags target;
  std::string out;
};

// Whether to stream: as asked, else by the model's size; says on stderr when it is so, or why it cannot be. Throws as Checkpoint::open does.
bool decide_streaming(const StreamRequest& request, std::optional<bool> asked);

// Converts and writes; returns what `convert` prints. Throws as convert_streamed and export_model do.
std::string convert_layer_by_layer(const StreamRequest& request);

// Of the weights that the configuration asks for, held in `dtype`.
int64_t weight_bytes(const Checkpoint& checkpoint, at::ScalarType dtype);

}  // namespace mla
