#include "experiments/streaming.h"

#include <cstdio>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/checkpoint/expected_tensors.h"
#include "experiments/data_root.h"
#include "experiments/doctor.h"
#include "experiments/pipeline.h"
#include "experiments/searcher.h"
#include "methods/streamed_convert.h"

namespace mla {
namespace {

std::string gigabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB", bytes / 1e9);
  return text;
}

// Where scratch files lie: beside the folder that is made, whose disk has to hold the model anyway.
std::filesystem::path scratch_folder(const std::string& out) {
  const std::filesystem::path full = std::filesystem::absolute(out).lexically_normal();
  return (full.has_filename() ? full : full.parent_path()).parent_path();
}

}  // namespace

int64_t weight_bytes(const Checkpoint& checkpoint, at::ScalarType dtype) {
  int64_t elements = 0;
  for (const ExpectedTensor& each : expected_tensors(checkpoint.config())) {
    int64_t count = 1;
    for (const int64_t size : each.shape.empty() ? checkpoint.shape(each.name) : each.shape) count *= size;
    elements += count;
  }
  return elements * static_cast<int64_t>(c10::elementSize(dtype));
}

bool decide_streaming(const StreamRequest& request, std::optional<bool> asked) {
  if (asked) return *asked;
  const std::shared_ptr<Checkpoint> checkpoint = Checkpoint::open(find_model(request.model.model));
  const double weights = static_cast<double>(weight_bytes(*checkpoint, parse_dtype(request.model.dtype))), memory = memory_mib("MemAvailable:") * 1048576;
  if (memory == 0 || weights <= kShareOfMemory * memory) return false;
  const Recipe recipe = find_recipe(request.method.method).make(method_options(request.method), checkpoint->config());
  const std::string sizes = "the model's " + gigabytes(weights) + " are more than half of the free memory, " + gigabytes(memory);
  const std::string reason = recipe.needs().gradient_moments ? "its statistics of gradients need the whole model" : why_not_streamed(recipe);
  if (reason.empty()) status("Streaming", sizes + ": layer by layer (--no-stream: all at once)");
  else warn(sizes + ", and " + recipe.label + " cannot go layer by layer: " + reason);
  return reason.empty();
}

std::string convert_layer_by_layer(const StreamRequest& request) {
  const OpenedModel opened = open_model(request.model);
  Resolved resolved{find_recipe(request.method.method).make(method_options(request.method), opened.model.decoder.config), {}, {}, {}};
  if (const std::string reason = why_not_streamed(resolved.recipe); !reason.empty())
    fail<ConfigError>("convert", resolved.recipe.label, " cannot be converted layer by layer: ", reason, "; or leave --stream out");
  Calibrator calibrator(request.calibration, request.model.data_root, opened.model, resolved.recipe);
  for (const std::string& warning : calibrator.warnings()) warn(warning);
  const StreamSource source{[&](const Decoder& frame, const StatKinds& kinds, const std::string& state) { return calibrator.layer_by_layer(frame, kinds, state); },
                            calibrator.cache_key(), calibrator.samples(), scratch_folder(request.out)};
  const StreamedConversion made = convert_streamed(opened.layers, resolved.recipe, source);
  const WrittenConversion written{opened.layers, made.converted, made.ranks, made.healing, source.scratch};
  const Json exported = write_conversion(opened.model, request.method.method, resolved, calibrator, written, request.target, request.out);
  return describe_written(request.out, resolved.recipe.label, written) + describe_export(exported, request.out);
}

}  // namespace mla
