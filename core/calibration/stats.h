// What methods need to know of a model's activations, measured in one streamed pass, layer by layer.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/calibration/samples.h"
#include "core/model/decoder.h"

namespace mla {

struct InputMoments {  // of one attention layer's normed input; fp64 on the CPU
  int64_t tokens = 0;  // n
  at::Tensor mean;     // [D]     E[x]
  at::Tensor second;   // [D,D]   E[x x^T], uncentred
};

struct PairNorms {   // mean over samples of the mean over tokens of each rotary pair's 2-norm before rotation; fp64
  at::Tensor query;  // [H, h/2]
  at::Tensor key;    // [G, h/2]
};

struct LayerStats {
  InputMoments input;
  PairNorms pairs;  // undefined tensors unless asked for
};

struct StatKinds {  // declared by the parts of a recipe; calibration collects no others
  bool input_moments = false;
  bool pair_norms = false;
  bool prefix_moments = false;  // input moments of the partial-RoPE model (TransMLA's second pass)
};
StatKinds operator|(const StatKinds& a, const StatKinds& b);

using CalibrationStats = std::vector<LayerStats>;  // one per layer

// One pass of `model` over the samples. Throws NumericalError naming the layer on a NaN, Interrupted on Ctrl-C.
CalibrationStats collect_stats(const Decoder& model, const CalibrationSamples& samples, const StatKinds& kinds);

// As collect_stats, from the disk cache where `key` is known: `key` names model, samples and state
// (checkpoint hash, sample key, dtype, kinds and, for a half-converted model, the conversion so far).
CalibrationStats cached_stats(const std::string& key, const std::function<CalibrationStats()>& collect, bool* hit = nullptr);

// W C W^T: second moment of y = W x.  W [m,D] any dtype -> [m,m] fp64
at::Tensor project_moment(const at::Tensor& weight, const at::Tensor& second);

}  // namespace mla
