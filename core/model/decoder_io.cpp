// Decoder <-> checkpoint.
#include <cmath>

#include "core/base/error.h"
#include "core/checkpoint/directory_writer.h"
#include "core/checkpoint/own_format.h"
#include "core/model/layer_files.h"
#include "core/model/model_folder.h"

namespace mla {
namespace {

// Grouped-query attention that a llama's config.json says all of, so that the folder is a llama's.
bool is_plain(const AttentionWeights& weights, const ModelConfig& c) {
  const auto* w = std::get_if<GqaWeights>(&weights);
  if (w == nullptr || w->norm || w->q_bias.defined() || w->o_bias.defined() || w->limits.softcap > 0 || w->limits.window > 0) return false;
  const bool plain_rope = !w->rope.by_length() && w->rope.attention_factor == 1 && at::equal(w->rope.inv_freq[0], standard_inv_freq(c.rope_theta, c.head_dim));
  return plain_rope && w->scale == 1.0 / std::sqrt(static_cast<double>(c.head_dim));
}

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

void list_mlp(const std::string& prefix, const DecoderLayer& layer, NamedTensors& list) {
  if (layer.experts) {
    const Experts& experts = *layer.experts;
    const std::string moe = prefix + "block_sparse_moe.";
    list.emplace_back(moe + "gate.weight", experts.router);
    const int64_t inner = experts.down.size(2);
    for (int64_t e = 0; e < experts.router.size(0); ++e) {
      const std::string expert = moe + "experts." + std::to_string(e) + '.';
      list.emplace_back(expert + "w1.weight", experts.gate_up[e].narrow(0, 0, inner));
      list.emplace_back(expert + "w2.weight", experts.down[e]);
      list.emplace_back(expert + "w3.weight", experts.gate_up[e].narrow(0, inner, inner));
    }
    return;
  }
  const int64_t inner = layer.down.size(1);
  const std::string mlp = prefix + "mlp.";
  list.emplace_back(mlp + "gate_proj.weight", layer.gate_up.narrow(0, 0, inner));
  list.emplace_back(mlp + "up_proj.weight", layer.gate_up.narrow(0, inner, inner));
  list.emplace_back(mlp + "down_proj.weight", layer.down);
  if (!layer.down_bias.defined()) return;
  list.emplace_back(mlp + "gate_proj.bias", layer.gate_up_bias.narrow(0, 0, inner));
  list.emplace_back(mlp + "up_proj.bias", layer.gate_up_bias.narrow(0, inner, inner));
  list.emplace_back(mlp + "down_proj.bias", layer.down_bias);
}

NamedTensors layer_tensors(int64_t index, const DecoderLayer& layer) {
  const std::string prefix = "model.layers." + std::to_string(index) + '.';
  const bool post = layer.attention_post_norm.defined();
  NamedTensors list{{prefix + "input_layernorm.weight", layer.attention_norm},
                    {prefix + (post ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight"), layer.mlp_norm}};
  if (post) {
    list.emplace_back(prefix + "post_attention_layernorm.weight", layer.attention_post_norm);
    list.emplace_back(prefix + "post_feedforward_layernorm.weight", layer.mlp_post_norm);
  }
  list_mlp(prefix, layer, list);
  for (const auto& [name, tensor] : named_tensors(layer.attention)) list.emplace_back(prefix + "self_attn." + name, tensor);
  return list;
}

// What config.json says of the layers where a llama's does not say all of them; null where it does.
Json layer_descriptions(const LayerStream& model) {
  const ModelConfig& config = model.frame().config;
  bool plain = config.architecture == "llama" && computation_to_json(config).empty();
  Json layers = Json::array();
  for (int64_t layer = 0; layer < model.layers(); ++layer) {
    const AttentionWeights attention = model.read(layer, LayerParts::outline).attention;
    plain = plain && is_plain(attention, config);
    layers.push_back(describe_attention(attention));
  }
  return plain ? Json() : layers;
}

}  // namespace

Decoder load_decoder(const Checkpoint& checkpoint, at::Device device, at::ScalarType dtype) {
  return open_layers({std::shared_ptr<const Checkpoint>(), &checkpoint}, device, dtype).load();
}

void save_decoder(const Decoder& decoder, const std::string& tokenizer_json, const Json& conversion,
                  const std::filesystem::path& out) {
  save_model(decoder, {{"tokenizer.json", tokenizer_json}}, conversion, out);
}

void save_model(const LayerStream& model, const FolderFiles& files, const Json& conversion, const std::filesystem::path& out, const CheckWritten& check,
                std::size_t shard_bytes) {
  ModelConfig config = model.frame().config;
  if (Json layers = layer_descriptions(model); !layers.is_null()) config.mla = Json{{"format", 2}, {"layers", std::move(layers)}};

  DirectoryWriter writer(out, config_to_hf(config), shard_bytes);
  writer.add_files(files);
  writer.add("model.embed_tokens.weight", model.frame().embedding);
  writer.add("model.norm.weight", model.frame().final_norm);
  if (!config.tie_word_embeddings) writer.add("lm_head.weight", model.frame().head);
  for (const auto& [name, tensor] : later_tensors(model, layer_tensors)) writer.add(name, tensor);
  writer.finish(conversion, check);
}

}  // namespace mla
