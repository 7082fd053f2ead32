#include "core/checkpoint/expected_tensors.h"

#include <algorithm>
#include <set>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/checkpoint/families.h"

namespace mla {
namespace {

using Shape = std::vector<int64_t>;

class List {
 public:
  void add(const std::string& name, Shape shape) { all.push_back({prefix + name, std::move(shape)}); }
  void linear(const std::string& name, int64_t out, int64_t in, bool bias) {
    add(name + ".weight", {out, in});
    if (bias) add(name + ".bias", {out});
  }
  std::string prefix;
  std::vector<ExpectedTensor> all;
};

void add_attention(List& list, const ModelConfig& c) {
  const int64_t queries = c.num_heads * c.head_dim, keys = c.num_kv_heads * c.head_dim, width = c.hidden_size;
  if (c.fused) {
    list.linear("self_attn.qkv_proj", queries + 2 * keys, width, c.qkv_bias);
  } else {
    list.linear("self_attn.q_proj", queries, width, c.qkv_bias);
    list.linear("self_attn.k_proj", keys, width, c.qkv_bias);
    list.linear("self_attn.v_proj", keys, width, c.qkv_bias);
  }
  list.linear("self_attn.o_proj", width, queries, c.output_bias);
  if (!c.qk_norm) return;
  list.add("self_attn.q_norm.weight", {c.head_dim});
  list.add("self_attn.k_norm.weight", {c.head_dim});
}

void add_latent(List& list, const ModelConfig& c, const LatentShape& l) {
  const int64_t queries = c.num_heads * (l.nope_dim + l.rope_dim), width = c.hidden_size;
  if (l.q_lora_rank) {
    list.linear("self_attn.q_a_proj", *l.q_lora_rank, width, c.qkv_bias);
    list.add("self_attn.q_a_layernorm.weight", {*l.q_lora_rank});
    list.linear("self_attn.q_b_proj", queries, *l.q_lora_rank, false);
  } else {
    list.linear("self_attn.q_proj", queries, width, false);
  }
  list.linear("self_attn.kv_a_proj_with_mqa", l.kv_lora_rank + l.rope_dim, width, c.qkv_bias);
  list.add("self_attn.kv_a_layernorm.weight", {l.kv_lora_rank});
  list.linear("self_attn.kv_b_proj", c.num_heads * (l.nope_dim + l.v_dim), l.kv_lora_rank, false);
  list.linear("self_attn.o_proj", width, c.num_heads * l.v_dim, c.output_bias);
}

// The tensors that a converted layer's description lists.
void add_described(List& list, const Json& layers, std::size_t index) {
  if (!layers.is_array() || index >= layers.size() || !layers[index].is_object()) return;  // refused where it is read
  const Json names = layers[index].value("tensors", Json::array());
  for (const Json& name : names)
    if (name.is_string()) list.add("self_attn." + name.get<std::string>(), {});
}

void add_mlp(List& list, const ModelConfig& c) {
  const int64_t inner = c.intermediate_size, width = c.hidden_size;
  if (c.experts > 0) {
    list.add("block_sparse_moe.gate.weight", {c.experts, width});
    for (int64_t e = 0; e < c.experts; ++e) {
      const std::string expert = "block_sparse_moe.experts." + std::to_string(e);
      list.add(expert + ".w1.weight", {inner, width});
      list.add(expert + ".w2.weight", {width, inner});
      list.add(expert + ".w3.weight", {inner, width});
    }
    return;
  }
  if (c.fused && !c.mla) {
    list.linear("mlp.gate_up_proj", 2 * inner, width, c.mlp_bias);
  } else {
    list.linear("mlp.gate_proj", inner, width, c.mlp_bias);
    list.linear("mlp.up_proj", inner, width, c.mlp_bias);
  }
  list.linear("mlp.down_proj", width, inner, c.mlp_bias);
}

// At most ten of them, then how many more there are.
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 10;
  const std::vector<std::string> first(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(kMost, names.size())));
  return names.empty() ? "none" : join(first) + (names.size() > kMost ? " and " + std::to_string(names.size() - kMost) + " more" : "");
}

// Tensors that a file may hold beside the computation: rotary tables of old transformers, layers for further tokens, a tied head.
bool is_ignored(const std::string& name, const ModelConfig& c) {
  if (name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".attn_rot_embd.weight")) return true;
  if (name == "rope_freqs.weight" || name == "rope_factors_short.weight" || name == "rope_factors_long.weight") return true;  // read with the configuration
  if (name == "lm_head.weight" && c.tie_word_embeddings) return true;
  if (c.latent && name.rfind("model.layers." + std::to_string(c.num_layers) + '.', 0) == 0) return true;  // DeepSeek's layer for a further token
  const Family& family = find_family(c.architecture, "a model");
  return std::any_of(family.ignored_tensors.begin(), family.ignored_tensors.end(), [&](const char* start) { return name.rfind(start, 0) == 0; });
}

std::string text_of(const Shape& shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) sizes.push_back(std::to_string(size));
  return '[' + join(sizes) + ']';
}

}  // namespace

std::vector<ExpectedTensor> expected_tensors(const ModelConfig& c) {
  List list;
  list.add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  list.add("model.norm.weight", {c.hidden_size});
  if (!c.tie_word_embeddings) list.add("lm_head.weight", {c.vocab_size, c.hidden_size});
  for (int64_t layer = 0; layer < c.num_layers; ++layer) {
    list.prefix = "model.layers." + std::to_string(layer) + '.';
    for (const char* name : {"input_layernorm.weight", "post_attention_layernorm.weight"}) list.add(name, {c.hidden_size});
    if (c.post_norms)
      for (const char* name : {"pre_feedforward_layernorm.weight", "post_feedforward_layernorm.weight"}) list.add(name, {c.hidden_size});
    if (c.mla) add_described(list, (*c.mla)["layers"], static_cast<std::size_t>(layer));
    else if (c.latent) add_latent(list, c, *c.latent);
    else add_attention(list, c);
    add_mlp(list, c);
  }
  return list.all;
}

void check_tensors(const Checkpoint& checkpoint) {
  const ModelConfig& c = checkpoint.config();
  std::vector<std::string> missing, extra;
  std::set<std::string> wanted;
  for (const ExpectedTensor& each : expected_tensors(c)) {
    wanted.insert(each.name);
    if (!checkpoint.has(each.name)) missing.push_back(each.name);
  }
  for (const std::string& name : checkpoint.names())
    if (wanted.count(name) == 0 && !is_ignored(name, c)) extra.push_back(name);
  if (!missing.empty() || !extra.empty())
    fail<CheckpointError>("checkpoint", checkpoint.path().string(), ": the tensors are not those of its configuration (", c.architecture, ", ", c.num_layers,
                          " layers). Missing: ", listed(missing), ". Not asked for: ", listed(extra));
  for (const ExpectedTensor& each : expected_tensors(c))
    if (!each.shape.empty() && checkpoint.shape(each.name) != each.shape)
      fail<CheckpointError>("checkpoint", checkpoint.path().string(), ": wanted tensor ", each.name, " of shape ", text_of(each.shape), ", got ",
                            text_of(checkpoint.shape(each.name)));
}

}  // namespace mla
