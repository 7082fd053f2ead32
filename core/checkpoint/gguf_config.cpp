// The configuration of a GGUF file, by the keys that llama.cpp gives each architecture.
#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/checkpoint/dequantize.h"
#include "core/checkpoint/families.h"
#include "core/checkpoint/own_format.h"

namespace mla {
namespace {

// Keys behind "<architecture>." that are read below or change nothing that we compute.
constexpr const char* kKnownKeys[] = {
    "context_length", "embedding_length", "block_count", "feed_forward_length", "vocab_size", "attention.head_count", "attention.head_count_kv",
    "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon", "attention.sliding_window", "rope.dimension_count",
    "rope.freq_base", "rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length", "rope.scaling.attn_factor",
    "rope.scaling.finetuned", "expert_count", "expert_used_count", "attn_logit_softcapping", "final_logit_softcapping"};

class Reader {
 public:
  Reader(const GgufFile& file, const std::string& architecture) : file_(file), where_(file.file().path().string()), prefix_(architecture + '.') {}
  bool has(const char* key) const { return file_.has(prefix_ + key); }
  int64_t integer(const char* key) const {
    const uint64_t value = file_.get_uint(prefix_ + key);
    if (value > uint64_t{1} << 40) fail<CheckpointError>("config", where_, ": ", prefix_, key, " is out of range: ", value);
    return static_cast<int64_t>(value);
  }
  int64_t integer(const char* key, int64_t fallback) const { return has(key) ? integer(key) : fallback; }
  double number(const char* key) const { return file_.get_float(prefix_ + key); }
  double number(const char* key, double fallback) const { return has(key) ? file_.get_float(prefix_ + key) : fallback; }
  std::string text(const char* key) const { return has(key) ? file_.get_string(prefix_ + key) : ""; }
  bool holds(const char* tensor) const { return file_.find(tensor) != nullptr; }
  const std::string& where() const { return where_; }

  // A small tensor of factors, each of which divides a frequency.
  std::vector<double> factors(const char* name, int64_t count) const {
    const GgufTensor* tensor = file_.find(name);
    if (tensor == nullptr) return {};
    if (tensor->elements() != count) fail<CheckpointError>("config", where_, ": wanted ", count, " factors in ", name, ", got ", tensor->elements());
    std::vector<float> values(static_cast<std::size_t>(count));
    dequantize(tensor->type, tensor->bytes, count, values.data());
    for (const float value : values)
      if (!(value > 0 && value < 1e9f)) fail<CheckpointError>("config", where_, ": wanted factors in (0, 1e9) in ", name, ", got ", value);
    return {values.begin(), values.end()};
  }
  void reject_unknown_keys() const {
    for (const std::string& key : file_.keys()) {
      if (key.rfind(prefix_, 0) != 0) continue;
      const std::string rest = key.substr(prefix_.size());
      if (std::find(std::begin(kKnownKeys), std::end(kKnownKeys), rest) == std::end(kKnownKeys))
        fail<CheckpointError>("config", where_, ": key ", key, " is not supported: it may change the computation");
    }
  }

 private:
  const GgufFile& file_;
  std::string where_, prefix_;
};

void read_sizes(const Reader& in, const GgufFile& file, ModelConfig& c) {
  const GgufTensor* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) fail<CheckpointError>("config", in.where(), ": tensor token_embd.weight is missing");
  c.vocab_size = embedding->shape[0];
  c.hidden_size = in.integer("embedding_length");
  c.intermediate_size = in.integer("feed_forward_length");
  c.num_layers = in.integer("block_count");
  c.num_heads = in.integer("attention.head_count");
  c.num_kv_heads = in.integer("attention.head_count_kv", c.num_heads);
  c.head_dim = in.integer("attention.key_length", c.num_heads > 0 ? c.hidden_size / c.num_heads : 0);
  if (in.integer("attention.value_length", c.head_dim) != c.head_dim)
    fail<CheckpointError>("config", in.where(), ": attention.value_length differs from attention.key_length, which is not supported");
  c.max_position = in.integer("context_length");
  c.rms_norm_eps = in.number("attention.layer_norm_rms_epsilon");
  c.rope_theta = in.number("rope.freq_base", 10000.0);
  c.tie_word_embeddings = !in.holds("output.weight");
}

// What the file's tensors say: llama.cpp has no keys for these.
void read_presence(const Reader& in, ModelConfig& c) {
  c.qkv_bias = in.holds("blk.0.attn_q.bias");
  c.output_bias = in.holds("blk.0.attn_output.bias");
  c.mlp_bias = in.holds("blk.0.ffn_gate.bias");
  c.qk_norm = in.holds("blk.0.attn_q_norm.weight");
}

void read_rope(const Reader& in, ModelConfig& c) {
  const std::string name = c.architecture, type = in.text("rope.scaling.type");
  const int64_t rotated = in.integer("rope.dimension_count", c.head_dim);
  if (rotated != c.head_dim && name != "phi3")
    fail<CheckpointError>("config", in.where(), ": rope.dimension_count differs from the head's width, which is not supported for ", name);
  if (rotated < 2 || rotated > c.head_dim || rotated % 2 != 0)
    fail<CheckpointError>("config", in.where(), ": wanted an even rope.dimension_count of at most ", c.head_dim, ", got ", rotated);
  c.rotary_dim = rotated == c.head_dim ? 0 : rotated;
  RopeScaling& s = c.rope;
  s.factor = in.number("rope.scaling.factor", 1.0);
  s.original_length = in.integer("rope.scaling.original_context_length", c.max_position);
  s.short_factor = in.factors("rope_factors_short.weight", rotated / 2);
  s.long_factor = in.factors("rope_factors_long.weight", rotated / 2);
  if (const std::vector<double> always = in.factors("rope_freqs.weight", rotated / 2); !always.empty()) s.short_factor = s.long_factor = always;
  if (s.short_factor.empty() != s.long_factor.empty())
    fail<CheckpointError>("config", in.where(), ": wanted both rope_factors_short.weight and rope_factors_long.weight, got one");
  if (!s.short_factor.empty()) s.kind = RopeKind::longrope;
  else if (type == "linear") s.kind = RopeKind::linear;
  else if (type == "yarn") s.kind = RopeKind::yarn;
  else if (!type.empty() && type != "none")
    fail<CheckpointError>("config", in.where(), ": wanted rope.scaling.type none, linear, yarn, or longrope with its tensors of factors, got ", type);
  if (s.kind == RopeKind::yarn) s.attention_factor = s.factor > 1 ? 0.1 * std::log(s.factor) + 1 : 1;
  if (s.kind == RopeKind::yarn || s.kind == RopeKind::longrope) s.attention_factor *= in.number("rope.scaling.attn_factor", 1.0);
  if (!(s.factor > 0 && s.factor < 1e6) || !(s.attention_factor > 0 && s.attention_factor < 1e6) || s.original_length < 2 || s.original_length > (1 << 30))
    fail<CheckpointError>("config", in.where(), ": wanted rope.scaling factors in (0, 1e6) and a length in [2, 2^30], got ", s.factor, ", ", s.attention_factor, " and ",
                          s.original_length);
}

void read_gemma(const Reader& in, ModelConfig& c) {
  c.activation = Activation::gelu_tanh;
  c.wide_norms = true;  // stored as 1 + w
  c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  if (c.architecture != "gemma2") return;
  c.post_norms = true;
  c.attention_softcap = in.number("attn_logit_softcapping", 50.0);
  c.logit_softcap = in.number("final_logit_softcapping", 30.0);
  // The file does not hold query_pre_attn_scalar: it is the head's width but for the 27B model, of 46 layers.
  if (c.num_layers == 46) c.score_scale = 1.0 / std::sqrt(static_cast<double>(c.hidden_size) / static_cast<double>(c.num_heads));
  const int64_t window = in.integer("attention.sliding_window", 4096);
  for (int64_t layer = 0; layer < c.num_layers; ++layer) c.windows.push_back(layer % 2 == 0 ? window : 0);
}

void read_others(const Reader& in, ModelConfig& c) {
  if (c.architecture == "gemma" || c.architecture == "gemma2") return read_gemma(in, c);
  c.fused = c.architecture == "phi3";
  if (const int64_t window = in.integer("attention.sliding_window", 0); window > 0) c.windows.assign(static_cast<std::size_t>(c.num_layers), window);
  if (c.architecture == "mixtral") {
    c.experts = in.integer("expert_count");
    c.experts_per_token = in.integer("expert_used_count");
  }
}

}  // namespace

ModelConfig config_from_gguf(const GgufFile& file) {
  const std::string where = file.file().path().string(), architecture = file.get_string("general.architecture");
  const Reader in(file, architecture);
  const bool experts = in.integer("expert_count", 0) > 0;
  ModelConfig c;
  c.architecture = find_gguf_family(architecture, experts, where).name;
  in.reject_unknown_keys();
  read_sizes(in, file, c);
  check_config(c, where);
  read_presence(in, c);
  read_rope(in, c);
  read_others(in, c);
  if (file.has("tokenizer.ggml.bos_token_id")) c.bos_id = static_cast<int64_t>(file.get_uint("tokenizer.ggml.bos_token_id"));
  if (file.has("tokenizer.ggml.eos_token_id")) c.eos_id = static_cast<int64_t>(file.get_uint("tokenizer.ggml.eos_token_id"));
  check_whole_config(c, where);
  return c;
}

}  // namespace mla
