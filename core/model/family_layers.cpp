// Layers under the names of Hugging Face's classes.
#include <cmath>

#include "core/model/deepseek_form.h"
#include "core/model/layer_files.h"
#include "core/model/rope_plan.h"

namespace mla {
namespace {

// Rows of every head in rotary_order(), where only a part of each is rotated.
at::Tensor in_rotary_order(const at::Tensor& rows, int64_t heads, const ModelConfig& c) {
  if (c.rotary_dim == 0 || !rows.defined()) return rows;
  const at::Tensor order = rotary_order(c.head_dim, c.rotary_dim).to(rows.device());
  return rows.unflatten(0, {heads, c.head_dim}).index_select(1, order).flatten(0, 1).contiguous();
}

// Weights and biases of q, k, v: three tensors of the file, or rows of one.
void read_projections(const TensorSource& source, const std::string& prefix, GqaWeights& w) {
  const ModelConfig& c = source.config();
  const int64_t queries = w.heads * w.head_dim, keys = w.kv_heads * w.head_dim;
  const auto split = [&](const at::Tensor& all, at::Tensor& q, at::Tensor& k, at::Tensor& v) {
    if (!all.defined()) return;
    q = all.narrow(0, 0, queries).clone();  // copies, so that the whole is not kept beside a converted part
    k = all.narrow(0, queries, keys).clone();
    v = all.narrow(0, queries + keys, keys).clone();
  };
  if (c.fused) {
    split(source.tensor(prefix + "qkv_proj.weight"), w.q, w.k, w.v);
    split(source.optional(prefix + "qkv_proj.bias"), w.q_bias, w.k_bias, w.v_bias);
  } else {
    w.q = source.tensor(prefix + "q_proj.weight"), w.q_bias = source.optional(prefix + "q_proj.bias");
    w.k = source.tensor(prefix + "k_proj.weight"), w.k_bias = source.optional(prefix + "k_proj.bias");
    w.v = source.tensor(prefix + "v_proj.weight"), w.v_bias = source.optional(prefix + "v_proj.bias");
  }
  for (at::Tensor* rows : {&w.q, &w.q_bias}) *rows = in_rotary_order(*rows, w.heads, c);
  for (at::Tensor* rows : {&w.k, &w.k_bias}) *rows = in_rotary_order(*rows, w.kv_heads, c);
}

AttentionWeights read_gqa(const TensorSource& source, const std::string& prefix, int64_t index) {
  const ModelConfig& c = source.config();
  GqaWeights w;
  w.heads = c.num_heads;
  w.kv_heads = c.num_kv_heads;
  w.head_dim = c.head_dim;
  read_projections(source, prefix, w);
  w.o = source.tensor(prefix + "o_proj.weight"), w.o_bias = source.optional(prefix + "o_proj.bias");
  if (c.qk_norm) w.norm = QkNorm{source.tensor(prefix + "q_norm.weight"), source.tensor(prefix + "k_norm.weight"), c.rms_norm_eps};
  w.rope = rope_plan(c, c.head_dim);
  w.scale = c.score_scale > 0 ? c.score_scale : 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  w.limits = {c.attention_softcap, c.window(index)};
  return w;
}

// Rotary rows as ours, pairs (i, i + rope_dim/2), where the file has them as neighbours.
at::Tensor pairs_apart(const at::Tensor& rows, int64_t heads, const LatentShape& latent) {
  return latent.interleaved && rows.defined() ? separate_rope_rows(rows, heads, latent.rope_dim) : rows;
}

AttentionWeights read_latent(const TensorSource& source, const std::string& prefix, int64_t index) {
  const ModelConfig& c = source.config();
  const LatentShape& latent = *c.latent;
  MlaWeights w;
  w.heads = w.groups = c.num_heads;
  w.nope_dim = latent.nope_dim;
  w.v_dim = latent.v_dim;
  if (latent.q_lora_rank) {
    w.q_a = source.tensor(prefix + "q_a_proj.weight"), w.q_a_bias = source.optional(prefix + "q_a_proj.bias");
    w.q_a_norm = source.tensor(prefix + "q_a_layernorm.weight");
    w.q_b = pairs_apart(source.tensor(prefix + "q_b_proj.weight"), w.heads, latent);
  } else {
    w.q = pairs_apart(source.tensor(prefix + "q_proj.weight"), w.heads, latent);
  }
  const at::Tensor both = pairs_apart(source.tensor(prefix + "kv_a_proj_with_mqa.weight"), 1, latent);
  w.kv_a = both.narrow(0, 0, latent.kv_lora_rank).clone();
  w.k_rope = both.slice(0, latent.kv_lora_rank).clone();
  if (const at::Tensor bias = pairs_apart(source.optional(prefix + "kv_a_proj_with_mqa.bias"), 1, latent); bias.defined()) {
    w.kv_a_bias = bias.narrow(0, 0, latent.kv_lora_rank).clone();
    w.k_rope_bias = bias.slice(0, latent.kv_lora_rank).clone();
  }
  w.kv_a_norm = source.tensor(prefix + "kv_a_layernorm.weight");
  w.kv_b = source.tensor(prefix + "kv_b_proj.weight");
  w.o = source.tensor(prefix + "o_proj.weight"), w.o_bias = source.optional(prefix + "o_proj.bias");
  w.rope = rope_plan(c, latent.rope_dim);
  w.scale = c.score_scale;
  w.limits = {c.attention_softcap, c.window(index)};
  return w;
}

void read_mlp(const TensorSource& source, const std::string& prefix, DecoderLayer& layer) {
  const ModelConfig& c = source.config();
  if (c.fused && !c.mla) {
    layer.gate_up = source.tensor(prefix + "gate_up_proj.weight"), layer.gate_up_bias = source.optional(prefix + "gate_up_proj.bias");
  } else {
    layer.gate_up = at::cat({source.tensor(prefix + "gate_proj.weight"), source.tensor(prefix + "up_proj.weight")});
    if (c.mlp_bias) layer.gate_up_bias = at::cat({source.tensor(prefix + "gate_proj.bias"), source.tensor(prefix + "up_proj.bias")});
  }
  layer.down = source.tensor(prefix + "down_proj.weight"), layer.down_bias = source.optional(prefix + "down_proj.bias");
}

Experts read_experts(const TensorSource& source, const std::string& prefix) {
  const ModelConfig& c = source.config();
  std::vector<at::Tensor> gate_up, down;
  for (int64_t e = 0; e < c.experts; ++e) {
    const std::string expert = prefix + "experts." + std::to_string(e) + '.';
    gate_up.push_back(at::cat({source.tensor(expert + "w1.weight"), source.tensor(expert + "w3.weight")}));
    down.push_back(source.tensor(expert + "w2.weight"));
  }
  return {source.tensor(prefix + "gate.weight"), at::stack(gate_up), at::stack(down), c.experts_per_token};
}

}  // namespace

DecoderLayer read_layer(const TensorSource& whole, int64_t index, LayerParts parts) {
  const TensorSource source = parts == LayerParts::outline ? whole.shapes() : whole, mlp = parts == LayerParts::whole ? whole : whole.shapes();
  const ModelConfig& c = source.config();
  const std::string prefix = "model.layers." + std::to_string(index) + '.';
  DecoderLayer layer;
  layer.attention_norm = source.norm(prefix + "input_layernorm.weight");
  layer.mlp_norm = source.norm(prefix + (c.post_norms ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight"));
  if (c.post_norms) {
    layer.attention_post_norm = source.norm(prefix + "post_attention_layernorm.weight");
    layer.mlp_post_norm = source.norm(prefix + "post_feedforward_layernorm.weight");
  }
  if (c.experts > 0) layer.experts = read_experts(mlp, prefix + "block_sparse_moe.");
  else read_mlp(mlp, prefix + "mlp.", layer);
  const std::string attention = prefix + "self_attn.";
  layer.attention = c.mla ? read_described_attention(source, attention, index) : c.latent ? read_latent(source, attention, index) : read_gqa(source, attention, index);
  return layer;
}

}  // namespace mla
