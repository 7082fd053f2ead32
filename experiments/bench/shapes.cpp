#include "experiments/bench/shapes.h"

#include <ATen/Context.h>

#include <array>
#include <charconv>
#include <cmath>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/process.h"

namespace mla {
namespace {

struct Shape {
  const char* name;
  const char* architecture;
  int64_t vocab, hidden, inner, layers, heads, kv_heads, head_dim, max_position;
  double theta, eps;
  bool tied, qkv_bias;
};

constexpr std::array kShapes{
    Shape{"llama-2-7b", "llama", 32000, 4096, 11008, 32, 32, 32, 128, 4096, 1e4, 1e-5, false, false},
    Shape{"llama-3-8b", "llama", 128256, 4096, 14336, 32, 32, 8, 128, 8192, 5e5, 1e-5, false, false},
    Shape{"llama-3.2-1b", "llama", 128256, 2048, 8192, 16, 32, 8, 64, 131072, 5e5, 1e-5, true, false},
    Shape{"qwen2.5-7b", "qwen2", 152064, 3584, 18944, 28, 28, 4, 128, 32768, 1e6, 1e-6, false, true},
    Shape{"smollm-135m", "llama", 49152, 576, 1536, 30, 9, 3, 64, 2048, 1e4, 1e-5, true, false},
    Shape{"smollm-360m", "llama", 49152, 960, 2560, 32, 15, 5, 64, 2048, 1e4, 1e-5, true, false},
    Shape{"smollm-1.7b", "llama", 49152, 2048, 8192, 24, 32, 32, 64, 2048, 1e4, 1e-5, true, false},
};

// Tensors one after another from the default generator of the device, which a seed sets for each layer.
class Random {
 public:
  Random(at::Device device, at::ScalarType dtype) : options_(at::TensorOptions(dtype).device(device)) {}
  void seed(uint64_t seed) const {
    if (options_.device().type() != at::kMeta) at::manual_seed(seed);
  }
  at::Tensor matrix(int64_t rows, int64_t columns) const { return at::randn({rows, columns}, options_).mul_(1.0 / std::sqrt(static_cast<double>(columns))); }
  at::Tensor vector(int64_t size) const { return at::randn({size}, options_).mul_(0.1); }
  at::Tensor ones(int64_t size) const { return at::ones({size}, options_); }

 private:
  at::TensorOptions options_;
};

RopePlan plain_rope(double theta, int64_t dims) {
  RopePlan plan;
  plan.inv_freq = standard_inv_freq(theta, dims).unsqueeze(0);
  return plan;
}

GqaWeights random_attention(const ModelConfig& c, const Random& random) {
  GqaWeights w;
  w.q = random.matrix(c.num_heads * c.head_dim, c.hidden_size);
  w.k = random.matrix(c.num_kv_heads * c.head_dim, c.hidden_size);
  w.v = random.matrix(c.num_kv_heads * c.head_dim, c.hidden_size);
  w.o = random.matrix(c.hidden_size, c.num_heads * c.head_dim);
  if (c.qkv_bias) {
    w.q_bias = random.vector(w.q.size(0));
    w.k_bias = random.vector(w.k.size(0));
    w.v_bias = random.vector(w.v.size(0));
  }
  w.rope = plain_rope(c.rope_theta, c.head_dim);
  w.heads = c.num_heads;
  w.kv_heads = c.num_kv_heads;
  w.head_dim = c.head_dim;
  w.scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  return w;
}

MlaWeights random_latent(const ModelConfig& c, const LatentSize& size, const Random& random) {
  MlaWeights w;
  w.heads = c.num_heads;
  w.groups = c.num_kv_heads;
  w.nope_dim = w.v_dim = c.head_dim;
  w.q = random.matrix(w.heads * (w.nope_dim + size.rope), c.hidden_size);
  w.k_rope = random.matrix(size.rope, c.hidden_size);
  w.kv_a = random.matrix(size.rank, c.hidden_size);
  w.kv_b = random.matrix(w.groups * (w.nope_dim + w.v_dim), size.rank);
  w.o = random.matrix(c.hidden_size, w.heads * w.v_dim);
  if (c.qkv_bias) w.q_bias = random.vector(w.q.size(0));
  w.rope = plain_rope(c.rope_theta, size.rope);
  w.scale = 1.0 / std::sqrt(static_cast<double>(w.nope_dim + size.rope));
  return w;
}

int64_t part_of(const std::string& text, std::size_t begin, std::size_t end) {
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, value);
  if (error != std::errc() || stop != text.data() + end || value < 1 || value > (1 << 20))
    fail<UsageError>("bench", "wanted a number of values at position ", begin + 1, " of --mla ", text, " (KV_LORA_RANK+QK_ROPE_HEAD_DIM, as in 512+64), got '", text.substr(begin, end - begin), "'");
  return value;
}

}  // namespace

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

ModelConfig find_shape(const std::string& name, int64_t layers) {
  for (const Shape& s : kShapes) {
    if (name != s.name) continue;
    if (layers > s.layers) fail<UsageError>("bench", "wanted --layers of at most ", s.layers, ", what ", name, " has, got ", layers);
    ModelConfig c;
    c.architecture = s.architecture;
    c.vocab_size = s.vocab;
    c.hidden_size = s.hidden;
    c.intermediate_size = s.inner;
    c.num_layers = layers > 0 ? layers : s.layers;
    c.num_heads = s.heads;
    c.num_kv_heads = s.kv_heads;
    c.head_dim = s.head_dim;
    c.max_position = s.max_position;
    c.rope_theta = s.theta;
    c.rms_norm_eps = s.eps;
    c.tie_word_embeddings = s.tied;
    c.qkv_bias = s.qkv_bias;
    return c;
  }
  fail<UsageError>("bench", "unknown shape '", name, "'", known_names_hint(name, shape_names()));
}

LatentSize parse_latent(const std::string& text) {
  const std::size_t plus = std::min(text.find('+'), text.size());
  LatentSize size{part_of(text, 0, plus), part_of(text, std::min(plus + 1, text.size()), text.size())};
  if (size.rope % 2 != 0) fail<UsageError>("bench", "wanted an even width of the rope key in --mla ", text, ", got ", size.rope);
  return size;
}

Decoder random_decoder(const ModelConfig& config, at::Device device, at::ScalarType dtype, uint64_t seed) {
  const Random random(device, dtype);
  Decoder decoder;
  decoder.config = config;
  random.seed(seed);
  decoder.embedding = random.matrix(config.vocab_size, config.hidden_size);
  decoder.head = config.tie_word_embeddings ? decoder.embedding : random.matrix(config.vocab_size, config.hidden_size);
  decoder.final_norm = random.ones(config.hidden_size);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    throw_if_interrupted();
    random.seed(seed + 1 + static_cast<uint64_t>(i));
    DecoderLayer layer;
    layer.attention_norm = random.ones(config.hidden_size);
    layer.attention = random_attention(config, random);
    layer.mlp_norm = random.ones(config.hidden_size);
    layer.gate_up = random.matrix(2 * config.intermediate_size, config.hidden_size);
    layer.down = random.matrix(config.hidden_size, config.intermediate_size);
    decoder.layers.push_back(std::move(layer));
  }
  return decoder;
}

Decoder with_latent_attention(const Decoder& original, const LatentSize& size, uint64_t seed) {
  const Random random(original.device(), original.dtype());
  Decoder decoder = original;
  for (std::size_t i = 0; i < decoder.layers.size(); ++i) {
    throw_if_interrupted();
    random.seed(seed + 1 + i);
    decoder.layers[i].attention = random_latent(original.config, size, random);
  }
  return decoder;
}

}  // namespace mla
