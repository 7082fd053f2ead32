#include "core/engine/held_models.h"

#include "core/base/error.h"
#include "core/engine/paged_layer.h"

namespace mla {
namespace {

constexpr int64_t kMostValues = 8192;   // of a row that cache_append copies
constexpr int64_t kMostWidth = 16384;   // of a row that residual_norm norms

std::optional<std::string> why_not(const CacheFormat& format, at::ScalarType dtype) {
  if (format.dtype && *format.dtype != dtype) return "the cache has another dtype than the model";
  if (!format.quant) return std::nullopt;
  const QuantFormat& quant = *format.quant;
  if (quant.bits != 8 && quant.bits != 4) return "caches of integers have 8 or 4 bits there";
  if (quant.axis != QuantAxis::token || quant.rule != QuantRule::quanto || quant.scales != at::kHalf) return "caches of integers are quanto's by token with fp16 scales there";
  if (format.rule != ResidualRule::window) return "caches of integers keep a window of the last tokens there";
  if (quant.group < 2 || quant.group > 512 || quant.group % 2 != 0) return "groups of integers have an even number of 2 to 512 values there";
  return std::nullopt;
}

std::optional<std::string> why_not(CacheShape shape, const CacheFormat& format) {
  if (std::max(shape.first.width(), shape.second.width()) > kMostValues) return "caches more than " + std::to_string(kMostValues) + " values in a row";
  if (format.quant) {
    if (shape.first.groups > 1 && shape.first.dim % format.quant->group != 0) return "has heads whose width is no multiple of the group of integers";
    shape = quantised(shape, *format.quant);
  }
  try {
    gpu::plan_decode(shape.decode, {1}, 0, {});
  } catch (const ShapeError& error) {
    return std::string("has widths that no kernel takes: ") + error.what();
  }
  return std::nullopt;
}

std::optional<std::string> why_not(const DecoderLayer& layer, const CacheFormat& format, gpu::Type type) {
  if (layer.experts) return "has experts";
  if (const auto* gqa = std::get_if<GqaWeights>(&layer.attention)) return why_not(cache_shape(*gqa, 1, type), format);
  if (const auto* latent = std::get_if<MlaWeights>(&layer.attention)) return why_not(cache_shape(*latent, 1, type), format);
  return "rebuilds its keys from a latent before they are rotated, which cannot be absorbed";
}

}  // namespace

std::optional<std::string> why_not_held(const Decoder& decoder, const CacheFormat& format) {
  const at::ScalarType dtype = decoder.dtype();
  if (decoder.config.hidden_size > kMostWidth) return "hidden states have more than " + std::to_string(kMostWidth) + " values";
  if (const std::optional<std::string> reason = why_not(format, dtype)) return reason;
  for (std::size_t i = 0; i < decoder.layers.size(); ++i)
    if (const std::optional<std::string> reason = why_not(decoder.layers[i], format, type_of(dtype))) return "layer " + std::to_string(i) + " " + *reason;
  return std::nullopt;
}

bool follows_rule(const Decoder& decoder, const CacheFormat& format) {
  const auto keeps_rope_keys = [](const DecoderLayer& layer) {
    const auto* latent = std::get_if<MlaWeights>(&layer.attention);
    return latent != nullptr && latent->rope.dims() > 0;
  };
  return !format.quant || std::none_of(decoder.layers.begin(), decoder.layers.end(), keeps_rope_keys);
}

}  // namespace mla
