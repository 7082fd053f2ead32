#pragma once
#include "core/base/json.h"
#include "core/model/layer_stream.h"

namespace mla {

struct Parity {
  int64_t tokens = 0;
  double max_difference = 0;  // of any logit
  double kl_nats = 0;         // mean over tokens of KL(reference || other), fp64
};
// Logits of both over ids [B,T]; one layer and a few rows of the vocabulary at a time.
Parity compare_logits(const LayerStream& reference, const LayerStream& other, const at::Tensor& ids);

// The same weights in fp32.
LayerStream in_fp32(const LayerStream& model);

// What a written model may differ from the one in memory: at fp32 1e-7 nats. In 16 bits both are held against the model's own weights
// computed in fp32, and the written one may lose kRoundingShare times what the model in memory loses there by itself.
inline constexpr double kExactNats = 1e-7;
inline constexpr double kRoundingShare = 1.5;

// {"tokens", "max_logit_difference", "kl_nats", "bound_nats"}. Throws NumericalError "[export] ..." beyond the bound.
Json require_parity(const LayerStream& model, const LayerStream& written, const at::Tensor& ids);

}  // namespace mla
