// Models that norm their queries and keys (Qwen3): the norm stays exact before the latent.
#include "tests/support/catch.h"

#include "core/checkpoint/checkpoint.h"
#include "methods/convert.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

const TinyShape kNormed{.width = 40, .qk_norm = true};

Conversion converted(const Decoder& original, int64_t rank) {
  const CalibrationSamples samples = tiny_samples(2, 2, 16, original.config.vocab_size);
  const Json options{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", rank}};
  return convert(original, find_recipe("transmla").make(options, original.config),
                 [&](const Decoder& m, const StatKinds& k, const std::string&) { return collect_stats(m, samples, k); });
}

// Query t's head by the definition, in fp64: norm, rotate by angle, softmax, mix.
at::Tensor one_head(const GqaWeights& w, const at::Tensor& x, int64_t head) {  // x [T,D] -> [T,h]
  const int64_t h = w.head_dim, half = h / 2, group = head / (w.heads / w.kv_heads), tokens = x.size(0);
  const auto row = [&](const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& gain, int64_t index, int64_t t) {
    at::Tensor y = weight.narrow(0, index * h, h).to(at::kDouble).mv(x[t]);
    if (bias.defined()) y = y + bias.narrow(0, index * h, h).to(at::kDouble);
    y = y / (y.square().mean() + w.norm->eps).sqrt() * gain.to(at::kDouble);
    at::Tensor rotated = at::empty_like(y);
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(t) * w.rope.inv_freq[0][i].item<double>(), a = y[i].item<double>(), b = y[i + half].item<double>();
      rotated[i] = a * std::cos(angle) - b * std::sin(angle);
      rotated[i + half] = b * std::cos(angle) + a * std::sin(angle);
    }
    return rotated;
  };
  at::Tensor out = at::zeros({tokens, h}, at::kDouble);
  for (int64_t t = 0; t < tokens; ++t) {
    const at::Tensor q = row(w.q, w.q_bias, w.norm->query, head, t);
    at::Tensor scores = at::empty({t + 1}, at::kDouble);
    for (int64_t s = 0; s <= t; ++s) scores[s] = q.dot(row(w.k, w.k_bias, w.norm->key, group, s)) * w.scale;
    at::Tensor v = x.narrow(0, 0, t + 1).matmul(w.v.narrow(0, group * h, h).to(at::kDouble).t());
    if (w.v_bias.defined()) v = v + w.v_bias.narrow(0, group * h, h).to(at::kDouble);
    out[t] = at::softmax(scores, 0).matmul(v);
  }
  return out;
}

}  // namespace

TEST_CASE("attention with q/k norms and biases equals its definition", "[recipes][qk_norm][oracle]") {
  const bool biases = GENERATE(false, true);
  const GqaWeights w = tiny_gqa({.qk_norm = true, .biases = biases});
  const at::Tensor x = tiny_inputs(1, 7, 24);
  std::vector<at::Tensor> heads;
  for (int64_t head = 0; head < w.heads; ++head) heads.push_back(one_head(w, x[0].to(at::kDouble), head));
  at::Tensor wanted = at::cat(heads, 1).matmul(w.o.to(at::kDouble).t());
  if (biases) wanted = wanted + w.o_bias.to(at::kDouble);

  CHECK(max_relative_error(attention_forward(w, x)[0], wanted) < kFp32Reordering);
}

TEST_CASE("a converted q/k-norm model is absorbable: absorbed equals expanded, decoding equals prefill", "[recipes][qk_norm][identity]") {
  const Decoder model = converted(tiny_decoder(kNormed), 10).converted;
  const at::Tensor ids = tiny_ids(2, 12, model.config.vocab_size), whole = model.last_hidden(ids, nullptr, MlaPath::expanded);

  CHECK(max_relative_error(model.last_hidden(ids, nullptr, MlaPath::absorbed), whole) < kFp32Reordering);
  for (const MlaPath path : {MlaPath::absorbed, MlaPath::expanded}) {
    KvCache cache;
    cache.prepare(model.layers.size());
    std::vector<at::Tensor> hidden;
    for (int64_t t = 0; t < ids.size(1); ++t) hidden.push_back(model.last_hidden(ids.narrow(1, t, 1), &cache, path));
    CHECK(max_relative_error(at::cat(hidden, 1), whole) < kFp32Reordering);
  }
  CHECK(model.cache_values_per_token_per_layer() == 10 + 8);  // the norm costs no cache
}

TEST_CASE("a converted q/k-norm model reads back bit for bit", "[recipes][qk_norm][io]") {
  const TemporaryFolder folder;
  const Decoder saved = converted(tiny_decoder({.width = 40, .qk_norm = true, .biases = true}), 10).converted;
  save_decoder(saved, "{}", {{"method", "test"}}, folder / "model");

  const Decoder read = load_decoder(*Checkpoint::open(folder / "model"), at::kCPU, at::kFloat);

  const at::Tensor ids = tiny_ids(2, 9, saved.config.vocab_size);
  CHECK(at::equal(read.last_hidden(ids), saved.last_hidden(ids)));
}

TEST_CASE("projections of the partial-RoPE model are the original's until attention differs", "[recipes][qk_norm][calibration]") {
  const Decoder original = tiny_decoder(kNormed);
  const CalibrationSamples samples = tiny_samples(2, 2, 16, original.config.vocab_size);
  const Decoder partial = *converted(original, 10).partial_rope;

  const CalibrationStats first = collect_stats(original, samples, {.projection_moments = true}), second = collect_stats(partial, samples, {.projection_moments = true});

  CHECK(max_relative_error(second[0].projections.second, first[0].projections.second) < kFp32Reordering);
  CHECK(max_relative_error(second[1].projections.second, first[1].projections.second) > 1e-3);
}

TEST_CASE("a q/k-norm model is re-calibrated on its own projections", "[recipes][qk_norm][calibration]") {
  const Decoder original = tiny_decoder(kNormed);
  const CalibrationSamples samples = tiny_samples(2, 2, 16, original.config.vocab_size);
  std::vector<std::string> asked;
  const Json options{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 10}};
  convert(original, find_recipe("transmla").make(options, original.config), [&](const Decoder& m, const StatKinds& k, const std::string& state) {
    asked.push_back(state.substr(0, state.find(' ')) + names_of(k));
    return collect_stats(m, samples, k);
  });
  CHECK(asked == std::vector<std::string>{"original projection_moments", "partial_rope projection_moments"});
}
