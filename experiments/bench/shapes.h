// Models without weights: the sizes of known ones, filled with seeded random numbers. What a forward costs does not depend on them.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/model/decoder.h"

namespace mla {

std::vector<std::string> shape_names();
// Sizes as the model's own config.json has them. Throws UsageError naming the known ones. `layers` > 0 keeps that many; more than the
// model has is a UsageError.
ModelConfig find_shape(const std::string& name, int64_t layers = 0);

// "512+64": values of a latent and of a rope key.
struct LatentSize {
  int64_t rank = 0, rope = 0;
  std::string name() const { return std::to_string(rank) + "+" + std::to_string(rope); }
};
// Throws UsageError naming the place in the text; the rope key's width is even.
LatentSize parse_latent(const std::string& text);

// Weights of each tensor normal with variance 1/columns, made on the device layer by layer from `seed`. On the device "meta" shapes alone.
Decoder random_decoder(const ModelConfig& config, at::Device device, at::ScalarType dtype, uint64_t seed);

// The same model with latent attention in the form that a conversion of ours has (one rope key for all heads, up-projections per KV head,
// head_dim position-free dims per head). Everything but the attention is shared with `original`, so both fit where one does.
Decoder with_latent_attention(const Decoder& original, const LatentSize& size, uint64_t seed);

}  // namespace mla
