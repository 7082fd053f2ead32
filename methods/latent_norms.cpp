#include "methods/latent_norms.h"

#include "core/base/error.h"

namespace mla {
namespace {

MlaWeights& latent_layer(Decoder& model, std::size_t layer) {
  if (auto* mla = std::get_if<MlaWeights>(&model.layers[layer].attention)) return *mla;
  fail<ConfigError>("convert", "wanted a latent for its norm, got a layer without one: ", layer);
}

void set_norms(MlaWeights& weights, double key_value, double query) {
  weights.kv_a_norm = at::full({weights.kv_a.size(0)}, key_value, weights.kv_a.options());
  if (weights.q_a.defined()) weights.q_a_norm = at::full({weights.q_a.size(0)}, query, weights.q_a.options());
}

}  // namespace

void add_latent_norms(Decoder& converted, LatentNorm kind, const CollectStats& collect, const std::string& state) {
  if (kind == LatentNorm::none) return;
  const bool shipped = kind == LatentNorm::as_shipped;
  if (shipped)
    for (std::size_t layer = 0; layer < converted.layers.size(); ++layer) set_norms(latent_layer(converted, layer), 1.0, 1.0);
  const CalibrationStats stats = collect(converted, {.latent_scales = true}, std::string(shipped ? "unit norms " : "latents ") + state);
  for (std::size_t layer = 0; layer < converted.layers.size(); ++layer) {
    const LatentScales& scales = stats[layer].latents;
    const auto weight = [&](const at::Tensor& pair) { return pair.defined() ? pair[shipped ? 1 : 0].item<double>() : 1.0; };
    set_norms(latent_layer(converted, layer), weight(scales.key_value), weight(scales.query));
  }
}

}  // namespace mla
