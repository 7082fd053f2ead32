#include "core/checkpoint/model_config.h"

#include "core/base/error.h"

namespace mla {
namespace {

void check_range(const std::string& where, const char* field, int64_t value, int64_t limit) {
  if (value < 1 || value > limit)
    fail<CheckpointError>("config", where, ": wanted ", field, " in [1, ", limit, "], got ", value);
}

void check(const ModelConfig& c, const std::string& where) {
  check_range(where, "num_hidden_layers", c.num_layers, 1024);
  check_range(where, "num_attention_heads", c.num_heads, 1024);
  check_range(where, "num_key_value_heads", c.num_kv_heads, c.num_heads);
  check_range(where, "head_dim", c.head_dim, 4096);
  check_range(where, "hidden_size", c.hidden_size, 65536);
  check_range(where, "intermediate_size", c.intermediate_size, 1 << 20);
  check_range(where, "vocab_size", c.vocab_size, 1 << 21);
  check_range(where, "max_position_embeddings", c.max_position, 1 << 30);
  if (c.num_heads % c.num_kv_heads != 0 || c.head_dim % 2 != 0)
    fail<CheckpointError>("config", where, ": wanted heads divisible by key/value heads and an even head_dim, got ", c.num_heads, ", ",
                          c.num_kv_heads, " and ", c.head_dim);
  if (!(c.rms_norm_eps > 0 && c.rms_norm_eps < 1) || !(c.rope_theta > 1 && c.rope_theta < 1e12))
    fail<CheckpointError>("config", where, ": wanted rms_norm_eps in (0, 1) and rope_theta in (1, 1e12), got ", c.rms_norm_eps, " and ",
                          c.rope_theta);
}

}  // namespace

ModelConfig config_from_hf(const Json& config, const std::string& where) {
  if (!config.is_object()) fail<CheckpointError>("config", where, ": wanted an object");
  const auto integer = [&](const char* name, std::optional<int64_t> fallback = std::nullopt) {
    const auto found = config.find(name);
    if (found == config.end() || found->is_null()) {
      if (fallback) return *fallback;
      fail<CheckpointError>("config", where, ": field ", name, " is missing");
    }
    if (!found->is_number_integer()) fail<CheckpointError>("config", where, ": wanted ", name, " to be an integer, got ", found->dump());
    return found->get<int64_t>();
  };
  const auto number = [&](const char* name, double fallback) {
    const auto found = config.find(name);
    if (found == config.end()) return fallback;
    if (!found->is_number()) fail<CheckpointError>("config", where, ": wanted ", name, " to be a number, got ", found->dump());
    return found->get<double>();
  };
  const Json type = config.value("model_type", Json());
  if (type != "llama" && type != "mlaforge")
    fail<CheckpointError>("config", where, ": wanted model_type llama, got ", type.dump(), ", which is not supported");
  for (const char* flag : {"attention_bias", "mlp_bias"})
    if (config.value(flag, Json(false)) != false) fail<CheckpointError>("config", where, ": ", flag, " is not supported");
  const Json scaling = config.value("rope_scaling", Json());
  if (!scaling.is_null()) fail<CheckpointError>("config", where, ": rope_scaling ", scaling.dump(), " is not supported");
  if (config.value("hidden_act", Json("silu")) != "silu")
    fail<CheckpointError>("config", where, ": wanted hidden_act silu, got ", config["hidden_act"].dump());

  ModelConfig c;
  c.architecture = "llama";
  c.vocab_size = integer("vocab_size");
  c.hidden_size = integer("hidden_size");
  c.intermediate_size = integer("intermediate_size");
  c.num_layers = integer("num_hidden_layers");
  c.num_heads = integer("num_attention_heads");
  c.num_kv_heads = integer("num_key_value_heads", c.num_heads);
  c.head_dim = integer("head_dim", c.num_heads > 0 ? c.hidden_size / c.num_heads : 0);
  c.max_position = integer("max_position_embeddings", 2048);
  c.rms_norm_eps = number("rms_norm_eps", 1e-6);
  c.rope_theta = number("rope_theta", 10000.0);
  c.tie_word_embeddings = config.value("tie_word_embeddings", Json(false)) == true;
  if (config.contains("bos_token_id") && config["bos_token_id"].is_number_integer()) c.bos_id = config["bos_token_id"];
  if (config.contains("eos_token_id") && config["eos_token_id"].is_number_integer()) c.eos_id = config["eos_token_id"];
  if (type == "mlaforge") {
    if (!config.contains("mla") || !config["mla"].is_object() || !config["mla"].contains("layers"))
      fail<CheckpointError>("config", where, ": wanted an mla object with layers");
    c.mla = config["mla"];
  }
  check(c, where);
  return c;
}

ModelConfig config_from_gguf(const GgufFile& file) {
  const std::string where = file.file().path().string();
  const std::string architecture = file.get_string("general.architecture");
  if (architecture != "llama")
    fail<CheckpointError>("config", where, ": wanted architecture llama, got ", architecture, ", which is not supported");
  for (const auto& name : {"llama.rope.scaling.type", "llama.expert_count"})
    if (file.has(name)) fail<CheckpointError>("config", where, ": ", name, " is not supported");
  const auto integer = [&](const std::string& name) {
    const uint64_t value = file.get_uint("llama." + name);
    if (value > uint64_t{1} << 40) fail<CheckpointError>("config", where, ": llama.", name, " is out of range: ", value);
    return static_cast<int64_t>(value);
  };
  ModelConfig c;
  c.architecture = "llama";
  const GgufTensor* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) fail<CheckpointError>("config", where, ": tensor token_embd.weight is missing");
  c.vocab_size = embedding->shape[0];
  c.hidden_size = integer("embedding_length");
  c.intermediate_size = integer("feed_forward_length");
  c.num_layers = integer("block_count");
  c.num_heads = integer("attention.head_count");
  c.num_kv_heads = file.has("llama.attention.head_count_kv") ? integer("attention.head_count_kv") : c.num_heads;
  c.head_dim = file.has("llama.attention.key_length") ? integer("attention.key_length") : c.num_heads > 0 ? c.hidden_size / c.num_heads : 0;
  if (file.has("llama.rope.dimension_count") && integer("rope.dimension_count") != c.head_dim)
    fail<CheckpointError>("config", where, ": llama.rope.dimension_count differs from the head's width, which is not supported");
  c.max_position = integer("context_length");
  c.rms_norm_eps = file.get_float("llama.attention.layer_norm_rms_epsilon");
  c.rope_theta = file.has("llama.rope.freq_base") ? file.get_float("llama.rope.freq_base") : 10000.0;
  c.tie_word_embeddings = file.find("output.weight") == nullptr;
  if (file.has("tokenizer.ggml.bos_token_id")) c.bos_id = static_cast<int64_t>(file.get_uint("tokenizer.ggml.bos_token_id"));
  if (file.has("tokenizer.ggml.eos_token_id")) c.eos_id = static_cast<int64_t>(file.get_uint("tokenizer.ggml.eos_token_id"));
  check(c, where);
  return c;
}

Json config_to_hf(const ModelConfig& c) {
  Json json{{"model_type", c.mla ? "mlaforge" : "llama"},
            {"architectures", {c.mla ? "MlaForgeForCausalLM" : "LlamaForCausalLM"}},
            {"vocab_size", c.vocab_size},
            {"hidden_size", c.hidden_size},
            {"intermediate_size", c.intermediate_size},
            {"num_hidden_layers", c.num_layers},
            {"num_attention_heads", c.num_heads},
            {"num_key_value_heads", c.num_kv_heads},
            {"head_dim", c.head_dim},
            {"hidden_act", "silu"},
            {"max_position_embeddings", c.max_position},
            {"rms_norm_eps", c.rms_norm_eps},
            {"rope_theta", c.rope_theta},
            {"tie_word_embeddings", c.tie_word_embeddings}};
  if (c.bos_id >= 0) json["bos_token_id"] = c.bos_id;
  if (c.eos_id >= 0) json["eos_token_id"] = c.eos_id;
  if (c.mla) json["mla"] = *c.mla;
  return json;
}

}  // namespace mla
