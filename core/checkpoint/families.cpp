#include "core/checkpoint/families.h"

#include <cmath>

#include "core/base/error.h"
#include "core/base/names.h"

namespace mla {
namespace {

void every_layer(ModelConfig& c, int64_t window) {
  if (window > 0) c.windows.assign(static_cast<std::size_t>(c.num_layers), window);
}

// sliding_window; 0 where it is null, `fallback` where it is missing.
int64_t window_of(ConfigFields& fields, int64_t fallback) {
  if (fields.is_null("sliding_window")) return fields.ignore("sliding_window"), 0;
  const int64_t window = fields.integer("sliding_window", fallback);
  if (window < 0 || (window == 0 && fields.has("sliding_window")))
    fail<CheckpointError>("config", fields.where(), ": wanted sliding_window of at least 1, or null, got ", window);
  return window;
}

// layer_types where it is given, else `slides` of each layer's index.
template <class Slides>
void some_layers(ConfigFields& fields, ModelConfig& c, int64_t window, const Slides& slides) {
  const std::vector<std::string> types = fields.texts("layer_types");
  if (!types.empty() && static_cast<int64_t>(types.size()) != c.num_layers)
    fail<CheckpointError>("config", fields.where(), ": wanted layer_types for ", c.num_layers, " layers, got ", types.size());
  for (int64_t layer = 0; layer < c.num_layers; ++layer) {
    bool sliding = slides(layer);
    if (!types.empty()) {
      const std::string& type = types[static_cast<std::size_t>(layer)];
      if (type != "sliding_attention" && type != "full_attention")
        fail<CheckpointError>("config", fields.where(), ": wanted layer_types of full_attention and sliding_attention, got ", type);
      sliding = type == "sliding_attention";
    }
    if (sliding && window < 1) fail<CheckpointError>("config", fields.where(), ": wanted sliding_window for layers of sliding_attention, got none");
    c.windows.push_back(sliding ? window : 0);
  }
}

void read_llama(ConfigFields& fields, ModelConfig& c) {
  c.qkv_bias = c.output_bias = fields.flag("attention_bias", false);
  c.mlp_bias = fields.flag("mlp_bias", false);
}

void read_mistral(ConfigFields& fields, ModelConfig& c) {
  every_layer(c, window_of(fields, 4096));
}

void read_mixtral(ConfigFields& fields, ModelConfig& c) {
  every_layer(c, window_of(fields, 0));
  c.experts = fields.integer("num_local_experts", 8);
  c.experts_per_token = fields.integer("num_experts_per_tok", 2);
}

void read_qwen_windows(ConfigFields& fields, ModelConfig& c) {
  const bool used = fields.flag("use_sliding_window", false);
  const int64_t window = used ? window_of(fields, 4096) : 0, first = fields.integer("max_window_layers", 28);
  fields.ignore("sliding_window");
  some_layers(fields, c, window, [&](int64_t layer) { return window > 0 && layer >= first; });
}

void read_qwen2(ConfigFields& fields, ModelConfig& c) {
  c.qkv_bias = true;
  fields.ignore("attention_bias");  // in some files; transformers' class has biases whatever it says
  read_qwen_windows(fields, c);
}

void read_mimo(ConfigFields& fields, ModelConfig& c) {
  if (!fields.flag("attention_bias", true)) fail<CheckpointError>("config", fields.where(), ": wanted attention_bias true of a mimo, got false");
  fields.ignore("num_nextn_predict_layers");  // its tensors are left out by name
  read_qwen2(fields, c);
}

void read_qwen3(ConfigFields& fields, ModelConfig& c) {
  c.qkv_bias = c.output_bias = fields.flag("attention_bias", false);
  c.qk_norm = true;
  read_qwen_windows(fields, c);
}

void read_any_gemma(ConfigFields& fields, ModelConfig& c) {
  c.qkv_bias = c.output_bias = fields.flag("attention_bias", false);
  c.unit_norms = c.wide_norms = true;
  c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
}

void read_gemma(ConfigFields& fields, ModelConfig& c) {
  read_any_gemma(fields, c);
  if (c.activation == Activation::gelu) c.activation = Activation::gelu_tanh;  // the first releases said gelu and meant its tanh form
  const std::string newer = fields.text("hidden_activation", "");
  if (!newer.empty()) c.activation = parse_activation(newer, "hidden_activation", fields.where());
}

double softcap(ConfigFields& fields, const char* name, double fallback) {
  if (fields.is_null(name)) return fields.ignore(name), 0.0;
  const double cap = fields.number(name, fallback);
  if (!(cap > 0 && cap < 1e6)) fail<CheckpointError>("config", fields.where(), ": wanted ", name, " in (0, 1e6), got ", cap);
  return cap;
}

// A field of released files that may stand there with this value alone.
void require_integer(ConfigFields& fields, const char* name, int64_t value) {
  if (const int64_t found = fields.integer(name, value); found != value)
    fail<CheckpointError>("config", fields.where(), ": wanted ", name, " of ", value, ", got ", found, ", which is not supported");
}

void read_gemma2(ConfigFields& fields, ModelConfig& c) {
  read_any_gemma(fields, c);
  fields.ignore("hidden_act");  // older files have it beside hidden_activation, which counts
  c.post_norms = true;
  c.attention_softcap = softcap(fields, "attn_logit_softcapping", 50.0);
  c.logit_softcap = softcap(fields, "final_logit_softcapping", 30.0);
  const double scalar = fields.number("query_pre_attn_scalar", 256.0);
  if (!(scalar > 0 && scalar < 1e9)) fail<CheckpointError>("config", fields.where(), ": wanted query_pre_attn_scalar above 0, got ", scalar);
  c.score_scale = 1.0 / std::sqrt(scalar);
  const int64_t window = window_of(fields, 4096);
  require_integer(fields, "sliding_window_size", window);  // the same once more
  some_layers(fields, c, window, [](int64_t layer) { return layer % 2 == 0; });
}

void read_phi3(ConfigFields& fields, ModelConfig& c) {
  c.fused = true;
  for (const char* name : {"full_attn_mod", "interpolate_factor"}) require_integer(fields, name, 1);  // of Phi-4-mini
  every_layer(c, window_of(fields, 0));
}

// Layers of experts are refused: `dense` says how many layers at the front have one MLP.
void require_dense(ConfigFields& fields, const ModelConfig& c, int64_t fallback) {
  const int64_t dense = fields.integer("first_k_dense_replace", fallback);
  if (dense < c.num_layers)
    fail<CheckpointError>("config", fields.where(), ": wanted first_k_dense_replace = num_hidden_layers = ", c.num_layers, ", got ", dense,
                          ": DeepSeek's layers of experts are not supported");
  for (const char* name : {"n_routed_experts", "n_shared_experts", "num_experts_per_tok", "n_group", "topk_group", "topk_method", "scoring_func", "moe_intermediate_size",
                           "norm_topk_prob", "routed_scaling_factor", "num_nextn_predict_layers", "num_mtp_layers", "moe_layer_freq", "ep_size", "seq_aux",
                           "aux_loss_alpha", "num_local_experts", "num_experts", "qk_head_dim"})
    fields.ignore(name);  // of experts, or of layers behind the last
}

void read_latent(ConfigFields& fields, ModelConfig& c, bool interleaved) {
  LatentShape latent;
  latent.kv_lora_rank = fields.integer("kv_lora_rank", 512);
  if (!fields.is_null("q_lora_rank")) latent.q_lora_rank = fields.integer("q_lora_rank", 1536);
  fields.ignore("q_lora_rank");
  latent.nope_dim = fields.integer("qk_nope_head_dim", 128);
  latent.rope_dim = fields.integer("qk_rope_head_dim", 64);
  latent.v_dim = fields.integer("v_head_dim", 128);
  latent.interleaved = interleaved;
  c.latent = latent;
  c.qkv_bias = c.output_bias = fields.flag("attention_bias", false);  // of q_a, kv_a and o
  c.head_dim = latent.rope_dim;
  c.score_scale = 1.0 / std::sqrt(static_cast<double>(latent.nope_dim + latent.rope_dim));
}

void read_deepseek_v2(ConfigFields& fields, ModelConfig& c) {
  require_dense(fields, c, 0);
  c.mlp_bias = fields.flag("mlp_bias", false);
  read_latent(fields, c, true);
}

void read_deepseek_v3(ConfigFields& fields, ModelConfig& c) {
  require_dense(fields, c, 3);
  read_latent(fields, c, fields.flag("rope_interleave", true));
}

}  // namespace

const std::vector<Family>& families() {
  static const std::vector<Family> table{
      {"llama", "LlamaForCausalLM", "llama", 1e-6, 1e4, false, 2048, 0, 0, "silu", "hidden_act", read_llama, {},
       "Llama 2, 3, 3.1, 3.2, SmolLM, SmolLM2"},
      {"mistral", "MistralForCausalLM", "", 1e-6, 1e4, false, 131072, 0, 8, "silu", "hidden_act", read_mistral, {}, "Mistral: sliding window"},
      {"mixtral", "MixtralForCausalLM", "llama", 1e-5, 1e6, false, 131072, 0, 8, "silu", "hidden_act", read_mixtral, {}, "Mixtral: top-k experts"},
      {"qwen2", "Qwen2ForCausalLM", "qwen2", 1e-6, 1e4, false, 32768, 0, 32, "silu", "hidden_act", read_qwen2, {}, "Qwen2, Qwen2.5: q/k/v biases"},
      {"qwen3", "Qwen3ForCausalLM", "qwen3", 1e-6, 1e4, false, 32768, 128, 32, "silu", "hidden_act", read_qwen3, {}, "Qwen3: norm of each query and key head"},
      {"gemma", "GemmaForCausalLM", "gemma", 1e-6, 1e4, true, 8192, 256, 16, "gelu_pytorch_tanh", "hidden_act", read_gemma, {},
       "Gemma: scaled embeddings, (1 + w) norms, GeGLU"},
      {"gemma2", "Gemma2ForCausalLM", "gemma2", 1e-6, 1e4, true, 8192, 256, 4, "gelu_pytorch_tanh", "hidden_activation", read_gemma2, {},
       "Gemma 2: and post-norms, soft-caps, alternating windows"},
      {"phi3", "Phi3ForCausalLM", "phi3", 1e-5, 1e4, false, 4096, 0, 0, "silu", "hidden_act", read_phi3, {},
       "Phi-3, Phi-4-mini: fused q/k/v and gate/up, longrope, partial rotation"},
      {"mimo", "MiMoForCausalLM", "", 1e-6, 1e4, false, 32768, 0, 32, "silu", "hidden_act", read_mimo, {"model.mtp_layers."}, "MiMo: Qwen2 and layers for several tokens, left out"},
      {"deepseek_v2", "DeepseekV2ForCausalLM", "", 1e-6, 1e4, false, 2048, 64, 0, "silu", "hidden_act", read_deepseek_v2, {},
       "DeepSeek-V2, dense layers: latent attention as it is"},
      {"deepseek_v3", "DeepseekV3ForCausalLM", "", 1e-6, 1e4, false, 4096, 64, 128, "silu", "hidden_act", read_deepseek_v3, {},
       "DeepSeek-V3, dense layers, and exports for transformers"}};
  return table;
}

const Family& find_family(const std::string& name, const std::string& where) {
  std::vector<std::string> known;
  for (const Family& family : families()) {
    if (name == family.name) return family;
    known.emplace_back(family.name);
  }
  fail<CheckpointError>("config", where, ": model_type '", name, "' is not supported", known_names_hint(name, known));
}

const Family& find_gguf_family(const std::string& architecture, bool experts, const std::string& where) {
  std::vector<std::string> known;
  for (const Family& family : families()) {
    if (*family.gguf == '\0') continue;
    if (architecture == family.gguf && (architecture != "llama" || experts == (std::string(family.name) == "mixtral"))) return family;
    known.emplace_back(family.gguf);
  }
  fail<CheckpointError>("config", where, ": architecture '", architecture, "' is not supported", known_names_hint(architecture, known));
}

Activation parse_activation(const std::string& name, const std::string& field, const std::string& where) {
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_fast") return Activation::gelu_tanh;
  fail<CheckpointError>("config", where, ": wanted ", field, " to be silu, gelu or gelu_pytorch_tanh, got '", name, '\'');
}

}  // namespace mla
