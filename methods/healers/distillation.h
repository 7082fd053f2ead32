// Short training of one layer's attention at a time: Adam on everything before W_O, so that the converted prefix reproduces the
// original's residual stream. Loss: sum_t w_t |W_O a_t - (target_t - residual_t)|^2 with output_refit's token weights: with the plain
// mean, massive activations dominate and the model gets worse. No end-to-end training: a layer sees only the streams that enter it.
#pragma once
#include "methods/parts.h"

namespace mla {

struct DistillationOptions {
  int64_t steps = 80;    // per layer, in a seeded order that passes over all samples before it repeats
  int64_t samples = 4;   // calibration samples per step
  double rate = 0.01;    // first step's size, as a share of each tensor's root mean square; falls to 0 linearly
  double beta1 = 0.9, beta2 = 0.95;
  bool output = false;   // train W_O as well
  uint64_t seed = 42;
};
std::unique_ptr<Healer> make_distillation(const DistillationOptions& options);

}  // namespace mla
