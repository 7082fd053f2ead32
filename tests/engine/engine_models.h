// Tiny models of the forms that the engine holds, and its answers beside Decoder's.
#pragma once
#include <string>
#include <vector>

#include "core/engine/decode_engine.h"
#include "tests/support/tiny_model.h"

namespace mla::test {

struct LatentParts {
  int64_t rank = 12, rope = 8, rope_heads = 1, groups = 2, nope = 6, v = 10;
  bool low_queries = false, latent_norm = false, biases = false;
};

inline MlaWeights drawn_latent(const TinyShape& s, const LatentParts& parts, uint64_t seed) {
  at::manual_seed(seed);
  const auto matrix = [](int64_t rows, int64_t columns) { return at::randn({rows, columns}) * (2 / std::sqrt(static_cast<double>(columns))); };
  MlaWeights w;
  const int64_t q_rows = s.heads * (parts.nope + parts.rope);
  if (parts.low_queries) {
    w.q_a = matrix(9, s.width);
    w.q_a_norm = 1 + 0.2 * at::randn({9});
    w.q_b = matrix(q_rows, 9);
  } else {
    w.q = matrix(q_rows, s.width);
  }
  w.k_rope = matrix(parts.rope_heads * parts.rope, s.width);
  w.kv_a = matrix(parts.rank, s.width);
  if (parts.latent_norm) w.kv_a_norm = 1 + 0.2 * at::randn({parts.rank});
  w.kv_b = matrix(parts.groups * (parts.nope + parts.v), parts.rank);
  w.o = matrix(s.width, s.heads * parts.v) / 2;
  if (parts.biases) {
    w.q_bias = 0.3 * at::randn({q_rows});
    w.k_rope_bias = 0.3 * at::randn({w.k_rope.size(0)});
    w.kv_a_bias = 0.3 * at::randn({parts.rank});
    w.o_bias = 0.3 * at::randn({s.width});
  }
  w.rope.inv_freq = standard_inv_freq(100.0, parts.rope).unsqueeze(0).repeat({parts.rope_heads, 1});
  if (parts.rope_heads > 1) w.rope.inv_freq[1] *= 0.7;
  w.heads = s.heads;
  w.groups = parts.groups;
  w.nope_dim = parts.nope;
  w.v_dim = parts.v;
  w.scale = 1 / std::sqrt(static_cast<double>(parts.nope + parts.rope));
  return w;
}

inline Decoder latent_decoder(const TinyShape& shape, const LatentParts& parts) {
  Decoder decoder = tiny_decoder(shape);
  for (std::size_t i = 0; i < decoder.layers.size(); ++i) decoder.layers[i].attention = drawn_latent(shape, parts, 31 + i);
  return decoder;
}

inline Decoder moved(Decoder decoder, at::Device device, at::ScalarType dtype) {
  const auto move = [&](at::Tensor& t) { if (t.defined()) t = t.to(device, dtype); };
  const bool tied = decoder.head.is_same(decoder.embedding);
  move(decoder.embedding), move(decoder.final_norm);
  tied ? static_cast<void>(decoder.head = decoder.embedding) : move(decoder.head);
  for (DecoderLayer& layer : decoder.layers) each_layer_tensor(layer, move);
  return decoder;
}

// Greedy continuations: of each prompt the tokens, and the logits that chose them.
struct Continuations {
  std::vector<std::vector<int64_t>> ids;
  std::vector<std::vector<at::Tensor>> logits;  // [V] fp32 on the CPU
};

// One prompt after another, token by token through Decoder::last_hidden.
inline Continuations by_decoder(const Decoder& decoder, const std::vector<at::Tensor>& prompts, int64_t count, const CacheFormat& format = {}) {
  Continuations out;
  for (const at::Tensor& prompt : prompts) {
    KvCache cache{{}, format};
    at::Tensor ids = prompt.unsqueeze(0);
    out.ids.emplace_back();
    out.logits.emplace_back();
    for (int64_t i = 0; i < count; ++i) {
      const at::Tensor logits = decoder.logits(decoder.last_hidden(ids, &cache).select(1, -1));
      out.logits.back().push_back(logits[0].cpu());
      out.ids.back().push_back(logits.argmax(-1).item<int64_t>());
      ids = at::full({1, 1}, out.ids.back().back(), at::kLong);
    }
  }
  return out;
}

// All prompts at once; the first token of each comes of its prompt.
inline Continuations by_engine(const Decoder& decoder, const EngineMachine& machine, const std::vector<at::Tensor>& prompts, int64_t count, const EngineOptions& options = {}) {
  std::vector<int64_t> room;
  for (const at::Tensor& prompt : prompts) room.push_back(prompt.numel() + count - 1);
  DecodeEngine engine(decoder, machine, room, options);
  Continuations out{std::vector<std::vector<int64_t>>(prompts.size()), std::vector<std::vector<at::Tensor>>(prompts.size())};
  for (std::size_t b = 0; b < prompts.size(); ++b) {
    KvCache cache;
    const at::Tensor logits = decoder.logits(decoder.last_hidden(prompts[b].unsqueeze(0), &cache).select(1, -1));
    out.logits[b].push_back(logits[0].cpu());
    engine.adopt(static_cast<int64_t>(b), cache, logits.argmax(-1, true));
  }
  for (int64_t i = 1; i < count; ++i) {
    engine.run(1);
    const at::Tensor logits = engine.logits().cpu();
    for (std::size_t b = 0; b < prompts.size(); ++b) out.logits[b].push_back(logits[static_cast<int64_t>(b)]);
  }
  const at::Tensor tokens = engine.tokens();
  for (std::size_t b = 0; b < prompts.size(); ++b)
    for (int64_t i = 0; i < count; ++i) out.ids[b].push_back(tokens[static_cast<int64_t>(b)][prompts[b].numel() + i].item<int64_t>());
  return out;
}

// The largest relative error of any step's logits.
inline double largest_error(const Continuations& got, const Continuations& wanted) {
  double worst = 0;
  for (std::size_t b = 0; b < wanted.logits.size(); ++b)
    for (std::size_t i = 0; i < wanted.logits[b].size(); ++i) worst = std::max(worst, max_relative_error(got.logits[b][i], wanted.logits[b][i]));
  return worst;
}

inline std::vector<at::Tensor> drawn_prompts(const std::vector<int64_t>& lengths, int64_t vocab) {
  std::vector<at::Tensor> prompts;
  for (std::size_t i = 0; i < lengths.size(); ++i) prompts.push_back(tiny_ids(1, lengths[i], vocab, 50 + i)[0]);
  return prompts;
}

}  // namespace mla::test
