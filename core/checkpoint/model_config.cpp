#include "core/checkpoint/model_config.h"

#include "core/base/error.h"
#include "core/checkpoint/families.h"
#include "core/checkpoint/own_format.h"

namespace mla {
namespace {

void check_range(const std::string& where, const char* field, int64_t value, int64_t limit, int64_t least = 1) {
  if (value < least || value > limit)
    fail<CheckpointError>("config", where, ": wanted ", field, " in [", least, ", ", limit, "], got ", value);
}

void check_latent(const LatentShape& latent, const ModelConfig& c, const std::string& where) {
  check_range(where, "kv_lora_rank", latent.kv_lora_rank, 65536);
  check_range(where, "q_lora_rank", latent.q_lora_rank.value_or(1), 65536);
  check_range(where, "qk_nope_head_dim", latent.nope_dim, 4096, 0);  // 0: every dim of a key turns
  check_range(where, "qk_rope_head_dim", latent.rope_dim, 4096);
  check_range(where, "v_head_dim", latent.v_dim, 4096);
  if (latent.rope_dim % 2 != 0) fail<CheckpointError>("config", where, ": wanted an even qk_rope_head_dim, got ", latent.rope_dim);
  if (c.num_kv_heads != c.num_heads)
    fail<CheckpointError>("config", where, ": wanted num_key_value_heads = num_attention_heads = ", c.num_heads, " with kv_lora_rank, got ", c.num_kv_heads);
}

void check_computation(const ModelConfig& c, const std::string& where) {
  // A rope key padded to p times its width keeps its frequencies under theta to the p (docs/export.md).
  if (!(c.rope_theta > 1 && c.rope_theta < 1e100)) fail<CheckpointError>("config", where, ": wanted rope_theta in (1, 1e100), got ", c.rope_theta);
  if (c.latent) check_latent(*c.latent, c, where);
  if (c.experts == 0) return;
  check_range(where, "num_local_experts", c.experts, 65536 / c.num_layers);  // each is a name to look for before anything is read
  check_range(where, "num_experts_per_tok", c.experts_per_token, c.experts);
}

// Fields that say nothing of next-token prediction, in any family.
constexpr const char* kNeutral[] = {
    "model_type", "architectures", "auto_map", "torch_dtype", "dtype", "transformers_version", "transformers.js_config", "use_cache", "cache_implementation",
    "initializer_range", "attention_dropout", "hidden_dropout", "embd_pdrop", "resid_pdrop", "pretraining_tp", "bos_token_id", "eos_token_id",
    "pad_token_id", "output_router_logits", "router_aux_loss_coef", "router_jitter_noise", "is_llama_config", "mla_export",
    "task_specific_params", "id2label", "label2id", "finetuning_task", "return_dict", "chunk_size_feed_forward", "loads_in", "unsloth_fixed",
    "unsloth_version", "_*"};

int64_t first_id(const Json& config, const char* name) {
  const Json value = config.value(name, Json());
  const Json& id = value.is_array() && !value.empty() ? value.front() : value;
  return id.is_number_integer() ? id.get<int64_t>() : -1;
}

void read_sizes(ConfigFields& fields, const Family& family, ModelConfig& c) {
  c.vocab_size = fields.integer("vocab_size");
  c.hidden_size = fields.integer("hidden_size");
  c.intermediate_size = fields.integer("intermediate_size");
  c.num_layers = fields.integer("num_hidden_layers");
  c.num_heads = fields.integer("num_attention_heads");
  const int64_t kv_heads = family.kv_heads > 0 && !fields.is_null("num_key_value_heads") ? family.kv_heads : c.num_heads;
  c.num_kv_heads = fields.integer("num_key_value_heads", kv_heads);
  const int64_t quotient = c.num_heads > 0 ? c.hidden_size / c.num_heads : 0;
  c.head_dim = fields.integer("head_dim", family.head_dim > 0 && !fields.is_null("head_dim") ? family.head_dim : quotient);
  c.max_position = fields.integer("max_position_embeddings", family.max_position);
  c.rms_norm_eps = fields.number("rms_norm_eps", family.rms_norm_eps);
  c.tie_word_embeddings = fields.flag("tie_word_embeddings", family.tied);
}

}  // namespace

void check_config(const ModelConfig& c, const std::string& where) {
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
  if (!(c.rms_norm_eps > 0 && c.rms_norm_eps < 1))
    fail<CheckpointError>("config", where, ": wanted rms_norm_eps in (0, 1), got ", c.rms_norm_eps);
}

void check_whole_config(const ModelConfig& c, const std::string& where) {
  check_config(c, where);
  check_computation(c, where);
}

ModelConfig config_from_hf(const Json& config, const std::string& where) {
  ConfigFields fields(config, where);
  const Json type = config.value("model_type", Json());
  if (!type.is_string()) fail<CheckpointError>("config", where, ": wanted model_type to be a text, got ", type.dump());
  const bool own = type == "mlaforge";
  const Family& family = find_family(own ? fields.text("family", "llama") : type.get<std::string>(), where);
  ModelConfig c;
  c.architecture = family.name;
  read_sizes(fields, family, c);
  check_config(c, where);
  c.bos_id = first_id(config, "bos_token_id");
  c.eos_id = first_id(config, "eos_token_id");
  c.activation = parse_activation(fields.text(family.activation_field, family.activation), family.activation_field, where);
  if (own) {
    if (!config.contains("mla") || !config["mla"].is_object() || !config["mla"].contains("layers"))
      fail<CheckpointError>("config", where, ": wanted an mla object with layers");
    c.mla = config["mla"];
    c.rope_theta = fields.number("rope_theta", family.rope_theta);
    read_computation(fields, c);
    for (const char* name : {"mla", "rope_scaling", "rope_parameters", "hidden_act"}) fields.ignore(name);
  } else {
    family.read(fields, c);
    read_rope(fields, family, c);
  }
  fields.reject_unknown(kNeutral);
  check_computation(c, where);
  return c;
}

Json config_to_hf(const ModelConfig& c) {
  const std::string family = c.architecture.empty() ? "llama" : c.architecture;
  Json json{{"model_type", c.mla ? "mlaforge" : family},
            {"architectures", {c.mla ? "MlaForgeForCausalLM" : find_family(family, "a model").class_name}},
            {"vocab_size", c.vocab_size},
            {"hidden_size", c.hidden_size},
            {"intermediate_size", c.intermediate_size},
            {"num_hidden_layers", c.num_layers},
            {"num_attention_heads", c.num_heads},
            {"num_key_value_heads", c.num_kv_heads},
            {"head_dim", c.head_dim},
            {"max_position_embeddings", c.max_position},
            {"rms_norm_eps", c.rms_norm_eps},
            {"rope_theta", c.rope_theta},
            {"tie_word_embeddings", c.tie_word_embeddings}};
  if (c.bos_id >= 0) json["bos_token_id"] = c.bos_id;
  if (c.eos_id >= 0) json["eos_token_id"] = c.eos_id;
  if (c.mla) json["mla"] = *c.mla;
  if (c.mla && family != "llama") json["family"] = family;
  const Json computation = computation_to_json(c);
  json["hidden_act"] = computation.value("activation", "silu");
  if (!computation.empty()) json["computation"] = computation;
  return json;
}

}  // namespace mla
