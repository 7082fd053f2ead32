#include "methods/latent_norms.h"

#include "core/base/error.h"

namespace mla {
namespace {

MlaWeights& latent_of(AttentionWeights& attention, int64_t layer) {
  if (auto* mla = std::get_if<MlaWeights>(&attention)) return *mla;
  fail<ConfigError>("convert", "wanted a latent for its norm, got a layer without one: ", layer);
}

void set_norms(MlaWeights& weights, double key_value, double query) {
  weights.kv_a_norm = at::full({weights.kv_a.size(0)}, key_value, weights.kv_a.options());
  if (weights.q_a.defined()) weights.q_a_norm = at::full({weights.q_a.size(0)}, query, weights.q_a.options());
}

}  // namespace

void set_unit_norms(AttentionWeights& attention, int64_t layer) { set_norms(latent_of(attention, layer), 1.0, 1.0); }

void set_latent_norms(AttentionWeights& attention, int64_t layer, LatentNorm kind, const LatentScales& scales) {
  const auto weight = [&](const at::Tensor& pair) { return pair.defined() ? pair[kind == LatentNorm::as_shipped ? 1 : 0].item<double>() : 1.0; };
  set_norms(latent_of(attention, layer), weight(scales.key_value), weight(scales.query));
}

std::string latent_scales_state(LatentNorm kind, const std::string& state) { return (kind == LatentNorm::as_shipped ? "unit norms " : "latents ") + state; }

void add_latent_norms(Decoder& converted, LatentNorm kind, const CollectStats& collect, const std::string& state) {
  if (kind == LatentNorm::none) return;
  const auto layers = static_cast<int64_t>(converted.layers.size());
  const auto attention = [&](int64_t layer) -> AttentionWeights& { return converted.layers[static_cast<std::size_t>(layer)].attention; };
  if (kind == LatentNorm::as_shipped)
    for (int64_t layer = 0; layer < layers; ++layer) set_unit_norms(attention(layer), layer);
  const CalibrationStats stats = collect(converted, {.latent_scales = true}, latent_scales_state(kind, state));
  for (int64_t layer = 0; layer < layers; ++layer) set_latent_norms(attention(layer), layer, kind, stats[static_cast<std::size_t>(layer)].latents);
}

}  // namespace mla
