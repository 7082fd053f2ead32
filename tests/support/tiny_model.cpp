#include "tests/support/tiny_model.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

namespace mla::test {
namespace {

// Uniform in [-a, a] with the variance 1/columns, from a generator of its own.
class Random {
 public:
  explicit Random(uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}
  at::Tensor matrix(int64_t rows, int64_t columns) {
    return at::randn({rows, columns}, generator_, at::kFloat) / std::sqrt(static_cast<double>(columns));
  }
  at::Tensor vector(int64_t size) { return 0.5 * at::randn({size}, generator_, at::kFloat); }
  at::Tensor gain(int64_t size) { return 1.0 + 0.2 * at::randn({size}, generator_, at::kFloat); }

 private:
  at::Generator generator_;
};

GqaWeights random_gqa(const TinyShape& s, Random& random) {
  GqaWeights w;
  w.q = random.matrix(s.heads * s.head_dim, s.width) * 2;
  w.k = random.matrix(s.groups * s.head_dim, s.width) * 2;
  w.v = random.matrix(s.groups * s.head_dim, s.width);
  w.o = random.matrix(s.width, s.heads * s.head_dim);
  w.rope.inv_freq = standard_inv_freq(10000.0, s.head_dim).unsqueeze(0);
  w.heads = s.heads;
  w.kv_heads = s.groups;
  w.head_dim = s.head_dim;
  w.scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
  if (s.qk_norm) w.norm = QkNorm{random.gain(s.head_dim), random.gain(s.head_dim), 1e-6};
  if (s.biases) {
    w.q_bias = random.vector(w.q.size(0));
    w.k_bias = random.vector(w.k.size(0));
    w.v_bias = random.vector(w.v.size(0));
    w.o_bias = random.vector(s.width);
  }
  return w;
}

}  // namespace

GqaWeights tiny_gqa(const TinyShape& shape, uint64_t seed) {
  Random random(seed);
  return random_gqa(shape, random);
}

Decoder tiny_decoder(const TinyShape& s, uint64_t seed) {
  Random random(seed);
  Decoder decoder;
  ModelConfig& c = decoder.config;
  c.architecture = "llama";
  c.vocab_size = s.vocab;
  c.hidden_size = s.width;
  c.intermediate_size = s.inner;
  c.num_layers = s.layers;
  c.num_heads = s.heads;
  c.num_kv_heads = s.groups;
  c.head_dim = s.head_dim;
  c.max_position = 256;
  c.rms_norm_eps = 1e-5;
  c.rope_theta = 10000.0;
  c.tie_word_embeddings = true;
  c.bos_id = 1;
  c.eos_id = 2;
  decoder.embedding = random.matrix(s.vocab, s.width) * 4;
  decoder.head = decoder.embedding;
  decoder.final_norm = random.gain(s.width);
  for (int64_t i = 0; i < s.layers; ++i)
    decoder.layers.push_back({random.gain(s.width), random_gqa(s, random), random.gain(s.width), random.matrix(2 * s.inner, s.width),
                              random.matrix(s.width, s.inner)});
  return decoder;
}

at::Tensor tiny_ids(int64_t batch, int64_t tokens, int64_t vocab, uint64_t seed) {
  return at::randint(0, vocab, {batch, tokens}, at::detail::createCPUGenerator(seed), at::TensorOptions(at::kLong));
}

at::Tensor tiny_inputs(int64_t batch, int64_t tokens, int64_t width, uint64_t seed) {
  return at::randn({batch, tokens, width}, at::detail::createCPUGenerator(seed), at::kFloat);
}

CalibrationSamples tiny_samples(int64_t batches, int64_t batch, int64_t tokens, int64_t vocab) {
  CalibrationSamples samples;
  for (int64_t i = 0; i < batches; ++i)
    samples.batches.push_back({tiny_ids(batch, tokens, vocab, static_cast<uint64_t>(100 + i)), at::ones({batch, tokens}, at::kBool)});
  samples.key = "tiny";
  return samples;
}

Tokenizer letter_tokenizer() {
  TokenizerData data;
  for (char c = 'a'; c <= 'z'; ++c) data.tokens.emplace_back(1, c);
  data.tokens.emplace_back("\u010A");
  data.special.assign(data.tokens.size(), false);
  return Tokenizer(data, "letters");
}

double max_relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor reference = b.to(at::kDouble);
  return ((a.to(at::kDouble) - reference).abs().max() / reference.abs().max()).item<double>();
}

double mean_kl(const at::Tensor& p_logits, const at::Tensor& q_logits) {
  const at::Tensor p = at::log_softmax(p_logits.to(at::kDouble), -1), q = at::log_softmax(q_logits.to(at::kDouble), -1);
  return (p.exp() * (p - q)).sum(-1).mean().item<double>();
}

}  // namespace mla::test
