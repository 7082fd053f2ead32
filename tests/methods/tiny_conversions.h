// What the recipes' tests share: tiny models of several shapes, converted on random samples.
#pragma once
#include "methods/convert.h"
#include "methods/registry.h"
#include "tests/support/tiny_model.h"

namespace mla::test {

inline CollectStats stats_from(const CalibrationSamples& samples) {
  return [&samples](const Decoder& model, const StatKinds& kinds, const std::string&) { return collect_stats(model, samples, kinds); };
}

// A Qwen2-shaped model: biases on queries, keys and values.
inline Decoder with_biases(Decoder decoder) {
  for (std::size_t i = 0; i < decoder.layers.size(); ++i) {
    auto& w = std::get<GqaWeights>(decoder.layers[i].attention);
    const auto bias = [&](const at::Tensor& rows, uint64_t seed) { return 0.5 * tiny_inputs(1, 1, rows.size(0), 100 * (i + 1) + seed).flatten(); };
    w.q_bias = bias(w.q, 1), w.k_bias = bias(w.k, 2), w.v_bias = bias(w.v, 3);
  }
  return decoder;
}

inline Decoder with_scale(Decoder decoder, double scale) {
  for (DecoderLayer& layer : decoder.layers) std::get<GqaWeights>(layer.attention).scale = scale;
  return decoder;
}

inline Conversion convert_with(const Decoder& original, const char* method, const Json& options) {
  const CalibrationSamples samples = tiny_samples(2, 3, 16, original.config.vocab_size);
  return convert(original, find_recipe(method).make(options, original.config), stats_from(samples));
}

inline double kl_of(const Decoder& p, const Decoder& q) {
  const at::Tensor ids = tiny_ids(2, 40, p.config.vocab_size, 77);
  return mean_kl(p.logits(p.last_hidden(ids)), q.logits(q.last_hidden(ids)));
}

inline const MlaWeights& latent_of(const Decoder& model, std::size_t layer = 0) { return std::get<MlaWeights>(model.layers[layer].attention); }

// GQA group sizes 1, 3 and 8 under 24 query dims and a width of 24.
inline TinyShape shape_with_group(int64_t size) { return {.heads = size == 8 ? 8 : 6, .groups = size == 8 ? 1 : 6 / size, .head_dim = 8}; }

}  // namespace mla::test
