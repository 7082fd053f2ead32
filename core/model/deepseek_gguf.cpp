#include "core/model/deepseek_gguf.h"

#include <cmath>

#include "core/base/error.h"
#include "core/checkpoint/dequantize.h"
#include "core/checkpoint/gguf_writer.h"
#include "core/model/gguf_vocabulary.h"

namespace mla {
namespace {

const std::string kArchitecture = "deepseek2";

std::string block(int64_t layer, const char* name) { return "blk." + std::to_string(layer) + '.' + name + ".weight"; }

void write_shape(const LayerStream& form, GgufWriter& out) {
  const ModelConfig& c = form.frame().config;
  const MlaWeights w = std::get<MlaWeights>(form.read(0, LayerParts::outline).attention);
  const auto count = [&](const char* name, int64_t value) { out.add_uint(kArchitecture + '.' + name, static_cast<uint64_t>(value)); };
  count("block_count", c.num_layers);
  count("context_length", c.max_position);
  count("embedding_length", c.hidden_size);
  count("feed_forward_length", c.intermediate_size);
  count("leading_dense_block_count", c.num_layers);
  count("vocab_size", c.vocab_size);
  count("attention.head_count", c.num_heads);
  count("attention.head_count_kv", 1);
  if (w.q_a.defined()) count("attention.q_lora_rank", w.q_a.size(0));
  count("attention.kv_lora_rank", w.rank());
  count("attention.key_length", w.rank() + w.rope.dims());
  count("attention.value_length", w.rank());
  count("attention.key_length_mla", w.nope_dim + w.rope.dims());
  count("attention.value_length_mla", w.v_dim);
  count("rope.dimension_count", w.rope.dims());
  out.add_float(kArchitecture + ".attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  out.add_float(kArchitecture + ".rope.freq_base", c.rope_theta);
  // No layer is a mixture of experts; the reader wants these all the same.
  count("expert_count", 0);
  count("expert_used_count", 0);
  count("expert_shared_count", 1);
  count("expert_feed_forward_length", c.intermediate_size);
  out.add_float(kArchitecture + ".expert_weights_scale", 1.0);
}

std::vector<std::pair<std::string, at::Tensor>> gguf_tensors(int64_t index, const DecoderLayer& layer) {
  const auto& w = std::get<MlaWeights>(layer.attention);
  const int64_t rope = w.rope.dims(), inner = layer.down.size(1), rank = w.rank();
  const at::Tensor up = w.kv_b.view({w.heads, w.nope_dim + w.v_dim, rank});
  std::vector<std::pair<std::string, at::Tensor>> out{{block(index, "attn_norm"), layer.attention_norm}};
  if (w.q.defined()) {
    out.emplace_back(block(index, "attn_q"), interleave_rope_rows(w.q, w.heads, rope));
  } else {
    out.emplace_back(block(index, "attn_q_a"), w.q_a);
    out.emplace_back(block(index, "attn_q_a_norm"), w.q_a_norm);
    out.emplace_back(block(index, "attn_q_b"), interleave_rope_rows(w.q_b, w.heads, rope));
  }
  out.emplace_back(block(index, "attn_kv_a_mqa"), at::cat({w.kv_a, interleave_rope_rows(w.k_rope, 1, rope)}));
  out.emplace_back(block(index, "attn_kv_a_norm"), w.kv_a_norm);
  out.emplace_back(block(index, "attn_k_b"), up.narrow(1, 0, w.nope_dim).transpose(1, 2).contiguous());  // [H, r, n]
  out.emplace_back(block(index, "attn_v_b"), up.narrow(1, w.nope_dim, w.v_dim).contiguous());            // [H, v, r]
  out.emplace_back(block(index, "attn_output"), w.o);
  out.emplace_back(block(index, "ffn_norm"), layer.mlp_norm);
  out.emplace_back(block(index, "ffn_gate"), layer.gate_up.narrow(0, 0, inner));
  out.emplace_back(block(index, "ffn_up"), layer.gate_up.narrow(0, inner, inner));
  out.emplace_back(block(index, "ffn_down"), layer.down);
  return out;
}

class DeepseekGguf {
 public:
  DeepseekGguf(const std::filesystem::path& path, at::Device device, at::ScalarType dtype) : file_(path), device_(device), dtype_(dtype) {}

  // All but the layers.
  Decoder read_frame() {
    if (file_.get_string("general.architecture") != kArchitecture) bad("wanted architecture deepseek2, got ", file_.get_string("general.architecture"));
    ModelConfig& c = decoder_.config;
    c.architecture = kArchitecture;
    c.num_layers = size("block_count"), c.max_position = size("context_length"), c.hidden_size = size("embedding_length");
    c.intermediate_size = size("feed_forward_length"), c.num_heads = c.num_kv_heads = size("attention.head_count");
    c.rms_norm_eps = file_.get_float(kArchitecture + ".attention.layer_norm_rms_epsilon");
    c.rope_theta = file_.get_float(kArchitecture + ".rope.freq_base");
    if (size("leading_dense_block_count") != c.num_layers) bad("wanted dense layers alone");
    decoder_.embedding = tensor("token_embd.weight", 2);
    c.vocab_size = decoder_.embedding.size(0);
    decoder_.final_norm = tensor("output_norm.weight", 1);
    decoder_.head = tensor("output.weight", 2);
    return decoder_;
  }

  DecoderLayer read_layer(int64_t index) const {
    const int64_t width = decoder_.config.hidden_size, inner = decoder_.config.intermediate_size;
    DecoderLayer layer;
    layer.attention_norm = tensor(block(index, "attn_norm"), 1);
    layer.mlp_norm = tensor(block(index, "ffn_norm"), 1);
    layer.gate_up = at::cat({matrix(index, "ffn_gate", inner, width), matrix(index, "ffn_up", inner, width)});
    layer.down = matrix(index, "ffn_down", width, inner);
    layer.attention = read_attention(index, width);
    return layer;
  }

 private:
  template <class... Text>
  [[noreturn]] void bad(const Text&... text) const {
    fail<CheckpointError>("deepseek", file_.file().path().string(), ": ", text...);
  }

  int64_t size(const std::string& name) const {
    const uint64_t value = file_.get_uint(kArchitecture + '.' + name);
    if (value < 1 || value > uint64_t{1} << 31) bad("wanted ", name, " in [1, 2^31], got ", value);
    return static_cast<int64_t>(value);
  }

  at::Tensor tensor(const std::string& name, int64_t dims) const {
    const GgufTensor* found = file_.find(name);
    if (found == nullptr) bad("tensor ", name, " is missing");
    if (static_cast<int64_t>(found->shape.size()) != dims) bad("wanted tensor ", name, " with ", dims, " dimensions, got ", found->shape.size());
    const at::Tensor values = at::empty(found->shape, at::kFloat);
    dequantize(found->type, found->bytes, found->elements(), values.data_ptr<float>());
    file_.file().release(found->offset, found->bytes.size());
    return values.to(device_, dtype_);
  }

  at::Tensor matrix(int64_t layer, const char* name, int64_t rows, int64_t columns) const {
    const at::Tensor t = tensor(block(layer, name), 2);
    if (t.size(0) != rows || t.size(1) != columns) bad("wanted ", block(layer, name), " [", rows, ", ", columns, "], got ", t.sizes());
    return t;
  }

  MlaWeights read_attention(int64_t index, int64_t width) const {
    const int64_t rope = size("rope.dimension_count"), rank = size("attention.kv_lora_rank");
    MlaWeights w;
    w.heads = w.groups = decoder_.config.num_heads;
    w.v_dim = size("attention.value_length_mla");
    w.nope_dim = size("attention.key_length_mla") - rope;
    if (w.nope_dim < 1 || rope % 2 != 0) bad("its head widths do not fit together");
    w.scale = 1.0 / std::sqrt(static_cast<double>(w.nope_dim + rope));
    w.rope.inv_freq = standard_inv_freq(decoder_.config.rope_theta, rope).unsqueeze(0);
    const int64_t queries = w.heads * (w.nope_dim + rope);
    if (file_.has(kArchitecture + ".attention.q_lora_rank")) {
      const int64_t query_rank = size("attention.q_lora_rank");
      w.q_a = matrix(index, "attn_q_a", query_rank, width);
      w.q_a_norm = tensor(block(index, "attn_q_a_norm"), 1);
      w.q_b = separate_rope_rows(matrix(index, "attn_q_b", queries, query_rank), w.heads, rope);
    } else {
      w.q = separate_rope_rows(matrix(index, "attn_q", queries, width), w.heads, rope);
    }
    const at::Tensor down = separate_rope_rows(matrix(index, "attn_kv_a_mqa", rank + rope, width), 1, rope);
    w.kv_a = down.narrow(0, 0, rank).contiguous();
    w.k_rope = down.narrow(0, rank, rope).contiguous();
    w.kv_a_norm = tensor(block(index, "attn_kv_a_norm"), 1);
    const at::Tensor keys = tensor(block(index, "attn_k_b"), 3), values = tensor(block(index, "attn_v_b"), 3);
    if (keys.sizes() != at::IntArrayRef({w.heads, rank, w.nope_dim}) || values.sizes() != at::IntArrayRef({w.heads, w.v_dim, rank}))
      bad("wanted attn_k_b and attn_v_b of layer ", index, " for ", w.heads, " heads and a latent of ", rank, ", got ", keys.sizes(), " and ", values.sizes());
    w.kv_b = at::cat({keys.transpose(1, 2), values}, 1).flatten(0, 1).contiguous();
    w.o = matrix(index, "attn_output", width, w.heads * w.v_dim);
    return w;
  }

  const GgufFile file_;
  at::Device device_;
  at::ScalarType dtype_;
  Decoder decoder_;
};

}  // namespace

void save_deepseek_gguf(const LayerStream& form, const Tokenizer& tokenizer, const GgufTexts& texts, const std::filesystem::path& path) {
  GgufWriter out;
  out.add_text("general.architecture", kArchitecture);
  out.add_text("general.name", texts.name);
  out.add_text("mlaforge.conversion", texts.record);
  write_shape(form, out);
  add_vocabulary(tokenizer, form.frame().embedding.size(0), out);
  if (!texts.chat_template.empty()) out.add_text("tokenizer.chat_template", texts.chat_template);
  out.add("token_embd.weight", form.frame().embedding);
  out.add("output_norm.weight", form.frame().final_norm);
  out.add("output.weight", form.frame().head);
  for (const auto& [name, tensor] : later_tensors(form, gguf_tensors)) out.add(name, tensor);
  out.write(path);
}

LayerStream open_deepseek_gguf(const std::filesystem::path& path, at::Device device, at::ScalarType dtype) {
  const auto file = std::make_shared<DeepseekGguf>(path, device, dtype);
  return {file->read_frame(), [file](int64_t layer, LayerParts) { return file->read_layer(layer); }};
}

Decoder load_deepseek_gguf(const std::filesystem::path& path, at::Device device, at::ScalarType dtype) { return open_deepseek_gguf(path, device, dtype).load(); }

}  // namespace mla
