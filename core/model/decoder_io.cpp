// Decoder <-> checkpoint. Tensor names are those of Hugging Face's llama, plus our own for the converted attention.
#include <map>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/checkpoint/directory_writer.h"
#include "core/model/decoder.h"

namespace mla {
namespace {

// How a layer's latent attention is written into config.json, under mla.layers[i].
Json describe(const MlaWeights& w) {
  const at::Tensor frequencies = w.rope.inv_freq.contiguous();
  const double* data = frequencies.const_data_ptr<double>();
  return {{"kv_lora_rank", w.rank()},
          {"q_lora_rank", w.q.defined() ? Json(nullptr) : Json(w.q_a.size(0))},
          {"qk_rope_head_dim", w.rope.dims()},
          {"qk_nope_head_dim", w.nope_dim},
          {"v_head_dim", w.v_dim},
          {"groups", w.groups},
          {"rope_heads", w.rope.rope_heads()},
          {"scale", w.scale},
          {"latent_norm", w.kv_a_norm.defined()},
          {"inv_freq", std::vector<double>(data, data + frequencies.numel())}};
}

class LayerReader {
 public:
  LayerReader(const Checkpoint& checkpoint, at::Device device, at::ScalarType dtype)
      : checkpoint_(checkpoint), config_(checkpoint.config()), device_(device), dtype_(dtype) {}

  at::Tensor tensor(const std::string& name) const { return checkpoint_.load(name, dtype_).to(device_); }

  DecoderLayer read(int64_t index) const {
    const std::string prefix = "model.layers." + std::to_string(index) + '.';
    DecoderLayer layer;
    layer.attention_norm = tensor(prefix + "input_layernorm.weight");
    layer.mlp_norm = tensor(prefix + "post_attention_layernorm.weight");
    layer.gate_up = at::cat({tensor(prefix + "mlp.gate_proj.weight"), tensor(prefix + "mlp.up_proj.weight")});
    layer.down = tensor(prefix + "mlp.down_proj.weight");
    layer.attention = config_.mla ? AttentionWeights(read_mla(prefix + "self_attn.", index)) : read_gqa(prefix + "self_attn.");
    return layer;
  }

 private:
  AttentionWeights read_gqa(const std::string& prefix) const {
    GqaWeights w;
    w.q = tensor(prefix + "q_proj.weight");
    w.k = tensor(prefix + "k_proj.weight");
    w.v = tensor(prefix + "v_proj.weight");
    w.o = tensor(prefix + "o_proj.weight");
    w.rope.inv_freq = standard_inv_freq(config_.rope_theta, config_.head_dim).unsqueeze(0);
    w.heads = config_.num_heads;
    w.kv_heads = config_.num_kv_heads;
    w.head_dim = config_.head_dim;
    w.scale = 1.0 / std::sqrt(static_cast<double>(config_.head_dim));
    return w;
  }

  // A field of config.json that must be a positive integer (or a number): the file is untrusted.
  int64_t size_field(const Json& layer, const char* name) const {
    const auto found = layer.find(name);
    if (found == layer.end() || !found->is_number_unsigned() || found->get<uint64_t>() > 1u << 20)
      fail<CheckpointError>("checkpoint", "wanted mla.layers[].", name, " to be an integer in [0, 2^20] in ",
                            checkpoint_.path().string(), ", got ", found == layer.end() ? "nothing" : found->dump());
    return found->get<int64_t>();
  }

  void want_shape(const at::Tensor& t, const std::string& name, int64_t rows, int64_t columns) const {
    if (t.dim() != 2 || t.size(0) != rows || t.size(1) != columns)
      fail<CheckpointError>("checkpoint", "wanted ", name, " [", rows, ",", columns, "] in ", checkpoint_.path().string(), ", got ",
                            t.sizes());
  }

  MlaWeights read_mla(const std::string& prefix, int64_t index) const {
    const Json& layers = (*config_.mla)["layers"];
    if (!layers.is_array() || static_cast<int64_t>(layers.size()) != config_.num_layers)
      fail<CheckpointError>("checkpoint", "wanted mla.layers with ", config_.num_layers, " entries in ", checkpoint_.path().string());
    const Json& layer = layers[static_cast<std::size_t>(index)];
    const int64_t rank = size_field(layer, "kv_lora_rank"), rope_dim = size_field(layer, "qk_rope_head_dim"),
                  rope_heads = size_field(layer, "rope_heads"), width = config_.hidden_size;
    MlaWeights w;
    w.heads = config_.num_heads;
    w.groups = size_field(layer, "groups");
    w.nope_dim = size_field(layer, "qk_nope_head_dim");
    w.v_dim = size_field(layer, "v_head_dim");
    const Json inv_freq = layer.value("inv_freq", Json::array());
    const Json scale = layer.value("scale", Json());
    if (!inv_freq.is_array() || static_cast<int64_t>(inv_freq.size()) != rope_heads * rope_dim / 2 || !scale.is_number() ||
        w.groups < 1 || w.heads % w.groups != 0 || rope_dim % 2 != 0)
      fail<CheckpointError>("checkpoint", "the mla.layers[", index, "] object of ", checkpoint_.path().string(),
                            " does not fit together; convert the model again");
    std::vector<double> frequencies;
    for (const Json& value : inv_freq) frequencies.push_back(value.is_number() ? value.get<double>() : std::nan(""));
    w.rope.inv_freq = at::tensor(frequencies, at::kDouble).view({rope_heads, rope_dim / 2});
    w.scale = scale.get<double>();
    const int64_t q_rows = w.heads * (w.nope_dim + rope_dim);
    const auto load = [&](const char* name, int64_t rows, int64_t columns) {
      const at::Tensor t = tensor(prefix + name);
      want_shape(t, prefix + name, rows, columns);
      return t;
    };
    if (layer.value("q_lora_rank", Json()).is_null()) {
      w.q = load("q_proj.weight", q_rows, width);
    } else {
      const int64_t q_rank = size_field(layer, "q_lora_rank");
      w.q_a = load("q_a_proj.weight", q_rank, width);
      w.q_b = load("q_b_proj.weight", q_rows, q_rank);
    }
    w.k_rope = load("k_rope_proj.weight", rope_heads * rope_dim, width);
    w.kv_a = load("kv_a_proj.weight", rank, width);
    if (layer.value("latent_norm", false)) w.kv_a_norm = tensor(prefix + "kv_a_layernorm.weight");
    w.kv_b = load("kv_b_proj.weight", w.groups * (w.nope_dim + w.v_dim), rank);
    w.o = load("o_proj.weight", width, w.heads * w.v_dim);
    return w;
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  at::Device device_;
  at::ScalarType dtype_;
};

void add_attention(DirectoryWriter& writer, const std::string& prefix, const GqaWeights& w) {
  writer.add(prefix + "q_proj.weight", w.q);
  writer.add(prefix + "k_proj.weight", w.k);
  writer.add(prefix + "v_proj.weight", w.v);
  writer.add(prefix + "o_proj.weight", w.o);
}

void add_attention(DirectoryWriter& writer, const std::string& prefix, const MlaWeights& w) {
  if (w.q.defined()) writer.add(prefix + "q_proj.weight", w.q);
  if (w.q_a.defined()) writer.add(prefix + "q_a_proj.weight", w.q_a);
  if (w.q_b.defined()) writer.add(prefix + "q_b_proj.weight", w.q_b);
  writer.add(prefix + "k_rope_proj.weight", w.k_rope);
  writer.add(prefix + "kv_a_proj.weight", w.kv_a);
  if (w.kv_a_norm.defined()) writer.add(prefix + "kv_a_layernorm.weight", w.kv_a_norm);
  writer.add(prefix + "kv_b_proj.weight", w.kv_b);
  writer.add(prefix + "o_proj.weight", w.o);
}

void add_attention(DirectoryWriter&, const std::string&, const LowRankKvWeights&) {
  fail<ConfigError>("decoder", "wanted a GQA or MLA model to write, got the low-rank form, which has no directory format yet");
}

}  // namespace

Decoder load_decoder(const Checkpoint& checkpoint, at::Device device, at::ScalarType dtype) {
  const LayerReader reader(checkpoint, device, dtype);
  Decoder decoder;
  decoder.config = checkpoint.config();
  decoder.embedding = reader.tensor("model.embed_tokens.weight");
  decoder.head = decoder.config.tie_word_embeddings ? decoder.embedding : reader.tensor("lm_head.weight");
  decoder.final_norm = reader.tensor("model.norm.weight");
  for (int64_t layer = 0; layer < decoder.config.num_layers; ++layer) decoder.layers.push_back(reader.read(layer));
  return decoder;
}

void save_decoder(const Decoder& decoder, const std::string& tokenizer_json, const Json& conversion,
                  const std::filesystem::path& out) {
  ModelConfig config = decoder.config;
  Json layers = Json::array();
  for (const DecoderLayer& layer : decoder.layers)
    if (const auto* latent = std::get_if<MlaWeights>(&layer.attention)) layers.push_back(describe(*latent));
  if (!layers.empty()) config.mla = Json{{"format", 1}, {"layers", layers}};

  DirectoryWriter writer(out, config);
  writer.add_file("tokenizer.json", tokenizer_json);
  writer.add("model.embed_tokens.weight", decoder.embedding);
  writer.add("model.norm.weight", decoder.final_norm);
  if (!config.tie_word_embeddings) writer.add("lm_head.weight", decoder.head);
  for (std::size_t index = 0; index < decoder.layers.size(); ++index) {
    throw_if_interrupted();
    const DecoderLayer& layer = decoder.layers[index];
    const std::string prefix = "model.layers." + std::to_string(index) + '.';
    const int64_t inner = layer.down.size(1);
    writer.add(prefix + "input_layernorm.weight", layer.attention_norm);
    writer.add(prefix + "post_attention_layernorm.weight", layer.mlp_norm);
    writer.add(prefix + "mlp.gate_proj.weight", layer.gate_up.narrow(0, 0, inner));
    writer.add(prefix + "mlp.up_proj.weight", layer.gate_up.narrow(0, inner, inner));
    writer.add(prefix + "mlp.down_proj.weight", layer.down);
    std::visit([&](const auto& form) { add_attention(writer, prefix + "self_attn.", form); }, layer.attention);
  }
  writer.finish(conversion);
}

}  // namespace mla
