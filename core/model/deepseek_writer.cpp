#include "core/model/deepseek_folder.h"

namespace mla {
namespace {

// rope_theta and rope_scaling as transformers 4 writes them and 5 still reads them. Frequencies off the grid are factors of longrope:
// frequency i is theta^(-2i/d) / factor i, short and long alike.
void describe_rope(const RopePlan& rope, const ModelConfig& model, Json& config) {
  const std::optional<double> theta = grid_theta(rope.inv_freq[0]);
  config["rope_theta"] = theta.value_or(model.rope_theta);
  config["rope_scaling"] = nullptr;
  if (theta && rope.attention_factor == 1.0) return;
  const at::Tensor factors = (standard_inv_freq(config["rope_theta"], rope.dims()) / rope.inv_freq[0]).contiguous();
  const double* data = factors.const_data_ptr<double>();
  const std::vector<double> list(data, data + factors.numel());
  config["rope_scaling"] = {{"rope_type", "longrope"}, {"type", "longrope"}, {"factor", 1.0}, {"attention_factor", rope.attention_factor},
                            {"short_factor", list}, {"long_factor", list}, {"original_max_position_embeddings", model.max_position}};
  config["original_max_position_embeddings"] = model.max_position;
}

}  // namespace

Json deepseek_config(const LayerStream& form, const std::string& note) {
  const ModelConfig& c = form.frame().config;
  const at::ScalarType dtype = form.frame().dtype();
  const MlaWeights w = std::get<MlaWeights>(form.read(0, LayerParts::outline).attention);
  Json config{{"architectures", {"DeepseekV3ForCausalLM"}}, {"model_type", "deepseek_v3"}, {"mla_export", note},
              {"vocab_size", c.vocab_size}, {"hidden_size", c.hidden_size}, {"intermediate_size", c.intermediate_size}, {"num_hidden_layers", c.num_layers},
              {"num_attention_heads", c.num_heads}, {"num_key_value_heads", c.num_heads}, {"hidden_act", "silu"}, {"rms_norm_eps", c.rms_norm_eps},
              {"max_position_embeddings", c.max_position}, {"attention_bias", w.o_bias.defined()}, {"tie_word_embeddings", false}, {"rope_interleave", true},
              {"q_lora_rank", w.q_a.defined() ? Json(w.q_a.size(0)) : Json()}, {"kv_lora_rank", w.rank()}, {"qk_nope_head_dim", w.nope_dim},
              {"qk_rope_head_dim", w.rope.dims()}, {"v_head_dim", w.v_dim}, {"torch_dtype", dtype == at::kFloat ? "float32" : dtype == at::kHalf ? "float16" : "bfloat16"},
              // No layer is a mixture of experts; the classes want these numbers all the same.
              {"first_k_dense_replace", c.num_layers}, {"n_routed_experts", 1}, {"n_shared_experts", 1}, {"num_experts_per_tok", 1}, {"n_group", 1}, {"topk_group", 1},
              {"moe_intermediate_size", c.intermediate_size}, {"norm_topk_prob", true}, {"routed_scaling_factor", 1.0}, {"num_nextn_predict_layers", 0}};
  describe_rope(w.rope, c, config);
  if (c.bos_id >= 0) config["bos_token_id"] = c.bos_id;
  if (c.eos_id >= 0) config["eos_token_id"] = c.eos_id;
  return config;
}

namespace {

std::vector<std::pair<std::string, at::Tensor>> deepseek_tensors(int64_t index, const DecoderLayer& layer) {
  const auto& w = std::get<MlaWeights>(layer.attention);
  const int64_t rope = w.rope.dims(), inner = layer.down.size(1);
  const std::string prefix = "model.layers." + std::to_string(index) + '.';
  std::vector<std::pair<std::string, at::Tensor>> list;
  const auto add = [&](const char* name, const at::Tensor& tensor) {
    if (tensor.defined()) list.emplace_back(prefix + name, tensor);
  };
  const auto queries = [&](const at::Tensor& rows) { return rows.defined() ? interleave_rope_rows(rows, w.heads, rope) : rows; };
  const auto joined = [&](const at::Tensor& latent, const at::Tensor& key) { return latent.defined() ? at::cat({latent, interleave_rope_rows(key, 1, rope)}) : latent; };
  add("input_layernorm.weight", layer.attention_norm);
  add("post_attention_layernorm.weight", layer.mlp_norm);
  add("mlp.gate_proj.weight", layer.gate_up.narrow(0, 0, inner));
  add("mlp.up_proj.weight", layer.gate_up.narrow(0, inner, inner));
  add("mlp.down_proj.weight", layer.down);
  add("self_attn.q_proj.weight", queries(w.q));
  add("self_attn.q_a_proj.weight", w.q_a);
  add("self_attn.q_a_proj.bias", w.q_a_bias);
  add("self_attn.q_a_layernorm.weight", w.q_a_norm);
  add("self_attn.q_b_proj.weight", queries(w.q_b));
  add("self_attn.kv_a_proj_with_mqa.weight", joined(w.kv_a, w.k_rope));
  add("self_attn.kv_a_proj_with_mqa.bias", joined(w.kv_a_bias, w.k_rope_bias));
  add("self_attn.kv_a_layernorm.weight", w.kv_a_norm);
  add("self_attn.kv_b_proj.weight", w.kv_b);
  add("self_attn.o_proj.weight", w.o);
  add("self_attn.o_proj.bias", w.o_bias);
  return list;
}

}  // namespace

void save_deepseek(const LayerStream& form, const std::string& note, const FolderFiles& files, const Json& conversion, const std::filesystem::path& out,
                   const CheckWritten& check, std::size_t shard_bytes) {
  DirectoryWriter writer(out, deepseek_config(form, note), shard_bytes);
  writer.add_files(files);
  writer.add("model.embed_tokens.weight", form.frame().embedding);
  writer.add("model.norm.weight", form.frame().final_norm);
  writer.add("lm_head.weight", form.frame().head);
  for (const auto& [name, tensor] : later_tensors(form, deepseek_tensors)) writer.add(name, tensor);
  writer.finish(conversion, check);
}

}  // namespace mla
