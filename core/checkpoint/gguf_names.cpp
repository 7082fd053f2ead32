#include "core/checkpoint/gguf_names.h"

#include <charconv>
#include <map>

namespace mla {
namespace {

using Names = std::map<std::string, std::string>;

const Names& whole_names() {
  static const Names names{{"model.embed_tokens.weight", "token_embd.weight"}, {"model.norm.weight", "output_norm.weight"}, {"lm_head.weight", "output.weight"}};
  return names;
}

// Parts of a layer, without ".weight" and ".bias".
const Names& layer_names() {
  static const Names names{{"self_attn.q_proj", "attn_q"},           {"self_attn.k_proj", "attn_k"},     {"self_attn.v_proj", "attn_v"},
                           {"self_attn.o_proj", "attn_output"},      {"self_attn.qkv_proj", "attn_qkv"}, {"self_attn.q_norm", "attn_q_norm"},
                           {"self_attn.k_norm", "attn_k_norm"},      {"mlp.gate_proj", "ffn_gate"},      {"mlp.up_proj", "ffn_up"},
                           {"mlp.gate_up_proj", "ffn_up"},           {"mlp.down_proj", "ffn_down"},      {"input_layernorm", "attn_norm"},
                           {"post_attention_layernorm", "ffn_norm"}, {"block_sparse_moe.gate", "ffn_gate_inp"}};
  return names;
}
// gemma2's norms: the same name means another one.
const Names& post_norm_names() {
  static const Names names{{"post_attention_layernorm", "post_attention_norm"},
                           {"pre_feedforward_layernorm", "ffn_norm"},
                           {"post_feedforward_layernorm", "post_ffw_norm"}};
  return names;
}

// block_sparse_moe.experts.2.w1 -> part 2 of ffn_gate_exps.
std::optional<GgufPlace> expert_place(const std::string& part, const std::string& block, const ModelConfig& config, const GgufFile& file) {
  constexpr std::string_view prefix = "block_sparse_moe.experts.";
  static const Names kinds{{"w1", "ffn_gate"}, {"w2", "ffn_down"}, {"w3", "ffn_up"}};
  if (part.rfind(prefix, 0) != 0) return std::nullopt;
  int64_t expert = -1;
  const char *begin = part.data() + prefix.size(), *end = part.data() + part.size();
  const auto [rest, error] = std::from_chars(begin, end, expert);
  if (error != std::errc() || rest == end || *rest != '.' || expert < 0 || expert >= config.experts) return std::nullopt;
  const auto kind = kinds.find(std::string(rest + 1, end));
  if (kind == kinds.end()) return std::nullopt;
  const std::string joined = block + kind->second + "_exps.weight";
  if (file.find(joined) != nullptr) return GgufPlace{joined, expert, config.experts};
  return GgufPlace{block + kind->second + '.' + std::to_string(expert) + ".weight"};
}

}  // namespace

std::optional<GgufPlace> gguf_place(const std::string& name, const ModelConfig& config, const GgufFile& file) {
  if (const auto found = whole_names().find(name); found != whole_names().end()) return GgufPlace{found->second};
  constexpr std::string_view prefix = "model.layers.";
  if (name.rfind(prefix, 0) != 0) return std::nullopt;
  const std::size_t dot = name.find('.', prefix.size()), last = name.rfind('.');
  if (dot == std::string::npos || last <= dot) return std::nullopt;
  const std::string block = "blk." + name.substr(prefix.size(), dot - prefix.size()) + '.', part = name.substr(dot + 1, last - dot - 1), kind = name.substr(last);
  if (config.post_norms)
    if (const auto found = post_norm_names().find(part); found != post_norm_names().end()) return GgufPlace{block + found->second + kind};
  if (const auto found = layer_names().find(part); found != layer_names().end()) return GgufPlace{block + found->second + kind};
  return kind == ".weight" ? expert_place(part, block, config, file) : std::nullopt;
}

}  // namespace mla
