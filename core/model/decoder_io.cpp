// Decoder <-> checkpoint. Tensor names are those of Hugging Face's llama, plus our own for the converted attention.
#include <set>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/checkpoint/directory_writer.h"
#include "core/model/decoder.h"
#include "core/model/model_folder.h"

namespace mla {
namespace {

// Frequencies of a rope plan, row by row.
Json frequencies_of(const RopePlan& rope) {
  const at::Tensor frequencies = rope.inv_freq.contiguous();
  const double* data = frequencies.const_data_ptr<double>();
  return std::vector<double>(data, data + frequencies.numel());
}

// What config.json says of a converted layer under mla.layers[i]; every field and tensor is needed to compute it.
Json describe(const AttentionWeights& weights) {
  Json json;
  if (const auto* w = std::get_if<MlaWeights>(&weights)) {
    json = {{"form", "mla"}, {"kv_lora_rank", w->rank()}, {"q_lora_rank", w->q.defined() ? Json(nullptr) : Json(w->q_a.size(0))},
            {"qk_rope_head_dim", w->rope.dims()}, {"qk_nope_head_dim", w->nope_dim}, {"v_head_dim", w->v_dim}, {"groups", w->groups},
            {"rope_heads", w->rope.rope_heads()}, {"scale", w->scale}, {"inv_freq", frequencies_of(w->rope)},
            {"attention_factor", w->rope.attention_factor}, {"qk_norm_eps", w->normed ? Json(w->normed->norm.eps) : Json()}};
  } else if (const auto* low = std::get_if<LowRankKvWeights>(&weights)) {
    json = {{"form", "low_rank_kv"}, {"key_rank", low->k_a.size(0)}, {"value_rank", low->v_a.size(0)}, {"groups", low->kv_heads},
            {"head_dim", low->head_dim}, {"scale", low->scale}, {"inv_freq", frequencies_of(low->rope)},
            {"attention_factor", low->rope.attention_factor}, {"qk_norm_eps", low->norm ? Json(low->norm->eps) : Json()}};
  } else {
    fail<ConfigError>("decoder", "wanted every layer to be converted, got one with grouped-query attention");
  }
  for (const auto& [name, tensor] : named_tensors(weights)) json["tensors"].push_back(name);
  return json;
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
    layer.attention = config_.mla ? read_converted(prefix + "self_attn.", index) : read_gqa(prefix + "self_attn.");
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

  void want_shape(const at::Tensor& t, const std::string& name, const std::vector<int64_t>& shape) const {
    if (t.sizes() != at::IntArrayRef(shape))
      fail<CheckpointError>("checkpoint", "wanted ", name, " ", at::IntArrayRef(shape), " in ", checkpoint_.path().string(), ", got ", t.sizes());
  }

  // The tensors that a layer's description lists, with their shapes checked against it.
  class Listed {
   public:
    Listed(const LayerReader& reader, std::string prefix, const Json& layer) : reader_(reader), prefix_(std::move(prefix)) {
      for (const Json& name : layer.value("tensors", Json::array()))
        if (name.is_string()) names_.insert(name.get<std::string>());
    }
    at::Tensor matrix(const char* name, int64_t rows, int64_t columns) const {
      const at::Tensor t = reader_.tensor(prefix_ + name);
      reader_.want_shape(t, prefix_ + name, {rows, columns});
      return t;
    }
    at::Tensor optional(const char* name, std::vector<int64_t> shape) const {
      if (names_.count(name) == 0) return {};
      const at::Tensor t = reader_.tensor(prefix_ + name);
      reader_.want_shape(t, prefix_ + name, shape);
      return t;
    }

   private:
    const LayerReader& reader_;
    std::string prefix_;
    std::set<std::string> names_;
  };

  [[noreturn]] void does_not_fit(int64_t index) const {
    fail<CheckpointError>("checkpoint", "the mla.layers[", index, "] object of ", checkpoint_.path().string(),
                          " does not fit together; convert the model again");
  }

  RopePlan read_rope(const Json& layer, int64_t index, int64_t rope_heads, int64_t pairs) const {
    const Json inv_freq = layer.value("inv_freq", Json::array()), factor = layer.value("attention_factor", Json(1.0));
    if (!inv_freq.is_array() || static_cast<int64_t>(inv_freq.size()) != rope_heads * pairs || !factor.is_number()) does_not_fit(index);
    std::vector<double> frequencies;
    for (const Json& value : inv_freq) {
      if (!value.is_number()) does_not_fit(index);
      frequencies.push_back(value.get<double>());
    }
    return {at::tensor(frequencies, at::kDouble).view({rope_heads, pairs}), factor.get<double>()};
  }

  double number_field(const Json& layer, const char* name, int64_t index) const {
    const Json value = layer.value(name, Json());
    if (!value.is_number()) does_not_fit(index);
    return value.get<double>();
  }

  AttentionWeights read_converted(const std::string& prefix, int64_t index) const {
    const Json& layers = (*config_.mla)["layers"];
    if (!layers.is_array() || static_cast<int64_t>(layers.size()) != config_.num_layers)
      fail<CheckpointError>("checkpoint", "wanted mla.layers with ", config_.num_layers, " entries in ", checkpoint_.path().string());
    const Json& layer = layers[static_cast<std::size_t>(index)];
    if (!layer.is_object()) does_not_fit(index);
    const Json form = layer.value("form", Json("mla"));
    if (form == "low_rank_kv") return read_low_rank(prefix, index, layer);
    if (form != "mla")
      fail<CheckpointError>("checkpoint", "wanted mla.layers[", index, "].form to be mla or low_rank_kv in ", checkpoint_.path().string(), ", got ", form.dump());
    return read_mla(prefix, index, layer);
  }

  MlaWeights read_mla(const std::string& prefix, int64_t index, const Json& layer) const {
    const int64_t rank = size_field(layer, "kv_lora_rank"), rope_dim = size_field(layer, "qk_rope_head_dim"),
                  rope_heads = size_field(layer, "rope_heads"), width = config_.hidden_size;
    MlaWeights w;
    w.heads = config_.num_heads;
    w.groups = size_field(layer, "groups");
    w.nope_dim = size_field(layer, "qk_nope_head_dim");
    w.v_dim = size_field(layer, "v_head_dim");
    if (w.groups < 1 || w.heads % w.groups != 0 || rope_dim % 2 != 0) does_not_fit(index);
    w.rope = read_rope(layer, index, rope_heads, rope_dim / 2);
    w.scale = number_field(layer, "scale", index);
    const Listed listed(*this, prefix, layer);
    int64_t query_width = width, key_width = width;
    if (!layer.value("qk_norm_eps", Json()).is_null()) {
      w.normed = read_normed(listed, number_field(layer, "qk_norm_eps", index));
      query_width = w.normed->query_width();
      key_width = w.normed->key_value_width();
    }
    const int64_t q_rows = w.heads * (w.nope_dim + rope_dim);
    if (layer.value("q_lora_rank", Json()).is_null()) {
      w.q = listed.matrix("q_proj.weight", q_rows, query_width);
    } else {
      const int64_t q_rank = size_field(layer, "q_lora_rank");
      w.q_a = listed.matrix("q_a_proj.weight", q_rank, query_width);
      w.q_a_norm = listed.optional("q_a_layernorm.weight", {q_rank});
      w.q_a_bias = listed.optional("q_a_proj.bias", {q_rank});
      w.q_b = listed.matrix("q_b_proj.weight", q_rows, q_rank);
    }
    w.k_rope = listed.matrix("k_rope_proj.weight", rope_heads * rope_dim, key_width);
    w.kv_a = listed.matrix("kv_a_proj.weight", rank, key_width);
    w.kv_a_norm = listed.optional("kv_a_layernorm.weight", {rank});
    w.kv_b = listed.matrix("kv_b_proj.weight", w.groups * (w.nope_dim + w.v_dim), rank);
    w.o = listed.matrix("o_proj.weight", width, w.heads * w.v_dim);
    w.q_bias = listed.optional("q_proj.bias", {q_rows});
    w.k_rope_bias = listed.optional("k_rope_proj.bias", {rope_heads * rope_dim});
    w.kv_a_bias = listed.optional("kv_a_proj.bias", {rank});
    w.o_bias = listed.optional("o_proj.bias", {width});
    return w;
  }

  NormedProjections read_normed(const Listed& listed, double eps) const {
    const int64_t h = config_.head_dim, queries = config_.num_heads * h, keys = config_.num_kv_heads * h, width = config_.hidden_size;
    NormedProjections n;
    n.head_dim = h;
    n.q = listed.matrix("normed.q_proj.weight", queries, width);
    n.k = listed.matrix("normed.k_proj.weight", keys, width);
    n.v = listed.matrix("normed.v_proj.weight", keys, width);
    n.q_bias = listed.optional("normed.q_proj.bias", {queries});
    n.k_bias = listed.optional("normed.k_proj.bias", {keys});
    n.v_bias = listed.optional("normed.v_proj.bias", {keys});
    n.norm = {listed.optional("q_norm.weight", {h}), listed.optional("k_norm.weight", {h}), eps};
    if (!n.norm.query.defined() || !n.norm.key.defined())
      fail<CheckpointError>("checkpoint", "wanted q_norm.weight and k_norm.weight among the tensors of ", checkpoint_.path().string());
    return n;
  }

  LowRankKvWeights read_low_rank(const std::string& prefix, int64_t index, const Json& layer) const {
    const int64_t width = config_.hidden_size, key_rank = size_field(layer, "key_rank"), value_rank = size_field(layer, "value_rank");
    LowRankKvWeights w;
    w.heads = config_.num_heads;
    w.kv_heads = size_field(layer, "groups");
    w.head_dim = size_field(layer, "head_dim");
    if (w.kv_heads < 1 || w.heads % w.kv_heads != 0 || w.head_dim % 2 != 0) does_not_fit(index);
    w.rope = read_rope(layer, index, 1, w.head_dim / 2);
    w.scale = number_field(layer, "scale", index);
    const Listed listed(*this, prefix, layer);
    w.q = listed.matrix("q_proj.weight", w.heads * w.head_dim, width);
    w.k_a = listed.matrix("k_a_proj.weight", key_rank, width);
    w.k_b = listed.matrix("k_b_proj.weight", w.kv_heads * w.head_dim, key_rank);
    w.v_a = listed.matrix("v_a_proj.weight", value_rank, width);
    w.v_b = listed.matrix("v_b_proj.weight", w.kv_heads * w.head_dim, value_rank);
    w.o = listed.matrix("o_proj.weight", width, w.heads * w.head_dim);
    w.q_bias = listed.optional("q_proj.bias", {w.heads * w.head_dim});
    w.k_a_bias = listed.optional("k_a_proj.bias", {key_rank});
    w.v_a_bias = listed.optional("v_a_proj.bias", {value_rank});
    w.o_bias = listed.optional("o_proj.bias", {width});
    if (!layer.value("qk_norm_eps", Json()).is_null())
      w.norm = QkNorm{listed.optional("q_norm.weight", {w.head_dim}), listed.optional("k_norm.weight", {w.head_dim}), number_field(layer, "qk_norm_eps", index)};
    return w;
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  at::Device device_;
  at::ScalarType dtype_;
};

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
  save_model(decoder, {{"tokenizer.json", tokenizer_json}}, conversion, out);
}

void save_model(const Decoder& decoder, const FolderFiles& files, const Json& conversion, const std::filesystem::path& out, const CheckWritten& check) {
  ModelConfig config = decoder.config;
  Json layers = Json::array();
  for (const DecoderLayer& layer : decoder.layers) {
    const auto* gqa = std::get_if<GqaWeights>(&layer.attention);
    if (gqa == nullptr) layers.push_back(describe(layer.attention));
    else if (gqa->norm || gqa->q_bias.defined() || gqa->o_bias.defined())
      fail<ConfigError>("decoder", "wanted a converted model, or an original without biases and q/k norm, to write; got one that has them");
  }
  if (!layers.empty()) config.mla = Json{{"format", 2}, {"layers", layers}};

  DirectoryWriter writer(out, config_to_hf(config));
  writer.add_files(files);
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
    for (const auto& [name, tensor] : named_tensors(layer.attention)) writer.add(prefix + "self_attn." + name, tensor);
  }
  writer.finish(conversion, check);
}

}  // namespace mla
