// What methods need to know of a model's activations, measured in one streamed pass, layer by layer.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/calibration/samples.h"
#include "core/model/decoder.h"

namespace mla {

struct InputMoments {  // of a vector x; fp64
  int64_t tokens = 0;  // n
  at::Tensor mean;     // [D]     E[x]
  at::Tensor second;   // [D,D]   E[x x^T], uncentred
};

struct PairNorms {   // mean over samples of the mean over tokens of each rotary pair's 2-norm before rotation; fp64
  at::Tensor query;  // [H, h/2]
  at::Tensor key;    // [G, h/2]
};

// Second moments of the gradient of each sample's summed next-token cross-entropy of the original model; fp64, mean over tokens.
struct GradientMoments {
  int64_t tokens = 0;
  at::Tensor key, value;                // [G*h, G*h]  at the keys before rotation (after a norm) and at the values
  at::Tensor residual;                  // [D, D]      at the residual stream after attention
  at::Tensor key_fisher, value_fisher;  // [G]  mean over the head's weights of sqrt(mean over batches of grad^2) (Palu, section 3.4)
};

// Queries and keys before rotation (after a norm) of the first samples; fp32.
struct RowReservoir {
  at::Tensor query;  // [N,T,H,h]
  at::Tensor key;    // [N,T,G,h]
};

// Of a converted layer's latents before any norm, means over tokens; fp64. The first of each pair is the rms of the latent, the second
// the inverse rms that TransMLA takes for a norm's weight: of [latent; rope key], and with the model's epsilon.
struct LatentScales {
  at::Tensor key_value;  // [2]
  at::Tensor query;      // [2], undefined without q_lora_rank
};

struct LayerStats {
  InputMoments input;        // of the layer's normed input
  InputMoments projections;  // of [q; k; v] before rotation, after the q/k norm; also of a converted model that keeps the norm
  InputMoments attended;     // of the vector that recipes see (input, or projections of a normed layer), each token weighted by how much
                             // it is attended to: sum over heads and later queries of the squared attention probability
  PairNorms pairs;           // undefined tensors unless asked for, here and below
  GradientMoments gradients;
  RowReservoir rows;
  LatentScales latents;
};

// Every tensor of them on `device`. Passes leave them on the CPU, where the cache keeps them and those of all layers have room;
// a recipe reads a layer's on the layer's device.
LayerStats to(const LayerStats& stats, at::Device device);

struct StatKinds;
// " input_moments pair_norms": part of a cache key.
std::string names_of(const StatKinds& kinds);

struct StatKinds {  // declared by the parts of a recipe; calibration collects no others
  bool input_moments = false;
  bool pair_norms = false;
  bool prefix_moments = false;  // input moments of the partial-RoPE model (TransMLA's second pass)
  bool gradient_moments = false;
  bool row_reservoir = false;
  bool attended_moments = false;
  bool projection_moments = false;  // in place of input moments where a model norms its queries and keys
  bool latent_scales = false;       // of a converted model
  bool any() const { return !names_of(*this).empty(); }
};
StatKinds operator|(const StatKinds& a, const StatKinds& b);
using CalibrationStats = std::vector<LayerStats>;  // one per layer

constexpr int64_t kReservoirSamples = 4;  // samples whose rows are kept: 4 x 256 tokens, as a greedy search over pairs needs

// The residual stream behind each layer's attention, as a pass met it: [layers][batches] of [B,T,D]. Healers start from it.
using ResidualTrace = std::vector<std::vector<at::Tensor>>;

// One pass of `model` over the samples (two and a backward one for gradients); `trace`, where given, is filled on the way. Throws
// NumericalError naming the layer on a NaN, Interrupted on Ctrl-C, ConfigError for gradients or rows of a model that is converted already.
CalibrationStats collect_stats(const Decoder& model, const CalibrationSamples& samples, const StatKinds& kinds, ResidualTrace* trace = nullptr);

// gradients.cpp: the backward pass, layer by layer from stored layer inputs.
std::vector<GradientMoments> collect_gradients(const Decoder& model, const CalibrationSamples& samples);

// As collect_stats, from the disk cache where `key` is known: `key` names model, samples and state
// (checkpoint hash, sample key, dtype, kinds and, for a half-converted model, the conversion so far).
CalibrationStats cached_stats(const std::string& key, const std::function<CalibrationStats()>& collect, bool* hit = nullptr);

// Second moment of x with `share` times the attended one added, scaled back: what a token counts grows with the attention it gets.
at::Tensor attention_weighted_second(const LayerStats& stats, double share);

// W C W^T: second moment of y = W x.  W [m,D] any dtype -> [m,m] fp64, on their device
at::Tensor project_moment(const at::Tensor& weight, const at::Tensor& second);

}  // namespace mla
