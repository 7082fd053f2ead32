// The models of one benchmark, side by side: files, a conversion made on the fly, shapes without weights.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/base/run_record.h"
#include "core/engine/machine.h"
#include "experiments/bench/rows.h"
#include "experiments/cache_options.h"
#include "experiments/run_options.h"
#include "experiments/run_steps.h"

namespace mla {

struct SideFlags {
  std::vector<std::string> models, shapes;
  std::string latent;  // of --mla
  int64_t layers = 0;  // of shapes; 0: all
  uint64_t seed = 1;   // of their weights
  MethodFlags method;  // converts the first model
  CalibrationFlags calibration;
  CacheFlags cache;
  std::string dtype = "fp32", device = "auto", data_root;
  int threads = 0;
};
void add_side_flags(CLI::App& command, SideFlags& flags);

struct BenchSide {
  BenchModel model;
  MemoryNeeds needs;
  RunRecord record;   // what names the model in the store
  std::string stage;  // original, or mla
  Decoder decoder;    // without layers where it was only planned
  std::optional<EngineMachine> engine;  // what generates; nothing: LibTorch
  std::shared_ptr<const Prepared> prepared;  // of a conversion: what it shares tensors with
};

// Models in the order of the flags, a conversion or the latent counterpart behind what it is made of. Throws UsageError where flags do not
// fit together, and as load_model, find_shape and convert do.
std::vector<BenchSide> load_sides(const SideFlags& flags);
// The same without weights: sizes alone, from files' headers and shapes.
std::vector<BenchSide> plan_sides(const SideFlags& flags);

}  // namespace mla
