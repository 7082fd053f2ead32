#include <cmath>
#include <set>

#include "core/base/error.h"
#include "core/checkpoint/safetensors_folder.h"
#include "core/model/deepseek_folder.h"

namespace mla {
namespace {

class DeepseekReader {
 public:
  DeepseekReader(const std::filesystem::path& folder, at::Device device, at::ScalarType dtype)
      : where_((folder / "config.json").string()), config_(read_json_file(folder / "config.json")), tensors_(folder), device_(device), dtype_(dtype) {}

  Decoder read() {
    read_config();
    Decoder decoder;
    decoder.config = model_;
    decoder.embedding = tensor("model.embed_tokens.weight", {model_.vocab_size, model_.hidden_size});
    decoder.final_norm = tensor("model.norm.weight", {model_.hidden_size});
    decoder.head = tensor("lm_head.weight", {model_.vocab_size, model_.hidden_size});
    for (int64_t layer = 0; layer < model_.num_layers; ++layer) decoder.layers.push_back(read_layer("model.layers." + std::to_string(layer) + '.'));
    for (const std::string& name : tensors_.names())
      if (used_.count(name) == 0) bad("tensor ", name, " has no place in the model that config.json describes");
    return decoder;
  }

 private:
  template <class... Text>
  [[noreturn]] void bad(const Text&... text) const {
    fail<CheckpointError>("deepseek", where_, ": ", text...);
  }

  int64_t size(const char* field, int64_t most = 1 << 21) const {
    const Json value = config_.value(field, Json());
    if (!value.is_number_integer() || value.get<int64_t>() < 1 || value.get<int64_t>() > most) bad("wanted ", field, " in [1, ", most, "], got ", value.dump());
    return value;
  }

  double number(const Json& from, const char* field) const {
    const Json value = from.value(field, Json());
    if (!value.is_number()) bad("wanted ", field, " to be a number, got ", value.dump());
    return value;
  }

  void want(const char* field, const Json& wanted) const {
    const Json value = config_.value(field, Json());
    if (value != wanted) bad("wanted ", field, ' ', wanted.dump(), ", got ", value.dump(), ", which is not supported");
  }

  void read_config() {
    if (!config_.is_object()) bad("wanted an object");
    want("model_type", "deepseek_v3");
    want("hidden_act", "silu");
    want("tie_word_embeddings", false);
    model_.architecture = "deepseek_v3";
    model_.vocab_size = size("vocab_size");
    model_.hidden_size = size("hidden_size", 1 << 16);
    model_.intermediate_size = size("intermediate_size");
    model_.num_layers = size("num_hidden_layers", 1024);
    model_.num_heads = model_.num_kv_heads = size("num_attention_heads", 1024);
    want("num_key_value_heads", model_.num_heads);
    want("first_k_dense_replace", model_.num_layers);
    model_.max_position = size("max_position_embeddings", 1 << 30);
    model_.rms_norm_eps = number(config_, "rms_norm_eps");
    nope_ = size("qk_nope_head_dim", 4096), rope_ = size("qk_rope_head_dim", 4096), value_ = size("v_head_dim", 4096), rank_ = size("kv_lora_rank", 1 << 16);
    if (rope_ % 2 != 0) bad("wanted an even qk_rope_head_dim, got ", rope_);
    model_.head_dim = nope_ + rope_;
    if (!config_.value("q_lora_rank", Json()).is_null()) query_rank_ = size("q_lora_rank", 1 << 16);
    const Json bias = config_.value("attention_bias", Json(false)), interleave = config_.value("rope_interleave", Json(true));
    if (!bias.is_boolean() || !interleave.is_boolean()) bad("wanted attention_bias and rope_interleave to be true or false, got ", bias.dump(), " and ", interleave.dump());
    bias_ = bias, interleave_ = interleave;
    read_rope();
  }

  void read_rope() {
    model_.rope_theta = number(config_, "rope_theta");
    rope_plan_.inv_freq = standard_inv_freq(model_.rope_theta, rope_).unsqueeze(0);
    const Json scaling = config_.value("rope_scaling", Json());
    if (scaling.is_null()) return;
    if (!scaling.is_object() || scaling.value("rope_type", Json()) != "longrope" || scaling.value("factor", Json()) != 1.0 ||
        scaling.value("short_factor", Json()) != scaling.value("long_factor", Json(0)))
      bad("rope_scaling ", scaling.dump(), " is not supported; known: longrope of factor 1 with short_factor and long_factor alike");
    const Json& list = scaling["short_factor"];
    std::vector<double> factors;
    for (const Json& factor : list)
      if (factor.is_number() && factor.get<double>() > 0) factors.push_back(factor);
    if (static_cast<int64_t>(factors.size()) != rope_ / 2 || list.size() != factors.size()) bad("wanted ", rope_ / 2, " positive rope_scaling.short_factor");
    rope_plan_.inv_freq = rope_plan_.inv_freq / at::tensor(factors, at::kDouble);
    rope_plan_.attention_factor = number(scaling, "attention_factor");
  }

  at::Tensor tensor(const std::string& name, const std::vector<int64_t>& shape) {
    const at::Tensor t = tensors_.load(name, dtype_);
    if (t.sizes() != at::IntArrayRef(shape)) bad("wanted tensor ", name, ' ', at::IntArrayRef(shape), ", got ", t.sizes());
    used_.insert(name);
    return t.to(device_);
  }

  DecoderLayer read_layer(const std::string& prefix) {
    const int64_t width = model_.hidden_size, inner = model_.intermediate_size;
    DecoderLayer layer;
    layer.attention_norm = tensor(prefix + "input_layernorm.weight", {width});
    layer.mlp_norm = tensor(prefix + "post_attention_layernorm.weight", {width});
    layer.gate_up = at::cat({tensor(prefix + "mlp.gate_proj.weight", {inner, width}), tensor(prefix + "mlp.up_proj.weight", {inner, width})});
    layer.down = tensor(prefix + "mlp.down_proj.weight", {width, inner});
    layer.attention = read_attention(prefix + "self_attn.");
    return layer;
  }

  MlaWeights read_attention(const std::string& prefix) {
    const int64_t width = model_.hidden_size, heads = model_.num_heads;
    const auto rope_rows = [&](const at::Tensor& rows, int64_t count) { return interleave_ ? separate_rope_rows(rows, count, rope_) : rows; };
    MlaWeights w;
    w.heads = w.groups = heads;
    w.nope_dim = nope_;
    w.v_dim = value_;
    w.scale = 1.0 / std::sqrt(static_cast<double>(nope_ + rope_));
    w.rope = rope_plan_;
    if (query_rank_ == 0) {
      w.q = rope_rows(tensor(prefix + "q_proj.weight", {heads * (nope_ + rope_), width}), heads);
    } else {
      w.q_a = tensor(prefix + "q_a_proj.weight", {query_rank_, width});
      if (bias_) w.q_a_bias = tensor(prefix + "q_a_proj.bias", {query_rank_});
      w.q_a_norm = tensor(prefix + "q_a_layernorm.weight", {query_rank_});
      w.q_b = rope_rows(tensor(prefix + "q_b_proj.weight", {heads * (nope_ + rope_), query_rank_}), heads);
    }
    const at::Tensor down = rope_rows(tensor(prefix + "kv_a_proj_with_mqa.weight", {rank_ + rope_, width}), 1);
    w.kv_a = down.narrow(0, 0, rank_).contiguous();
    w.k_rope = down.narrow(0, rank_, rope_).contiguous();
    if (bias_) {
      const at::Tensor bias = rope_rows(tensor(prefix + "kv_a_proj_with_mqa.bias", {rank_ + rope_}), 1);
      w.kv_a_bias = bias.narrow(0, 0, rank_).contiguous();
      w.k_rope_bias = bias.narrow(0, rank_, rope_).contiguous();
      w.o_bias = tensor(prefix + "o_proj.bias", {width});
    }
    w.kv_a_norm = tensor(prefix + "kv_a_layernorm.weight", {rank_});
    w.kv_b = tensor(prefix + "kv_b_proj.weight", {heads * (nope_ + value_), rank_});
    w.o = tensor(prefix + "o_proj.weight", {width, heads * value_});
    return w;
  }

  const std::string where_;
  const Json config_;
  const SafetensorsFolder tensors_;
  at::Device device_;
  at::ScalarType dtype_;
  ModelConfig model_;
  RopePlan rope_plan_;
  int64_t nope_ = 0, rope_ = 0, value_ = 0, rank_ = 0, query_rank_ = 0;
  bool bias_ = false, interleave_ = true;
  std::set<std::string> used_;
};

}  // namespace

Decoder load_deepseek(const std::filesystem::path& folder, at::Device device, at::ScalarType dtype) { return DeepseekReader(folder, device, dtype).read(); }

}  // namespace mla
