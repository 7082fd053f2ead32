// Decoder <-> checkpoint.
#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/checkpoint/directory_writer.h"
#include "core/checkpoint/expected_tensors.h"
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

void add_mlp(DirectoryWriter& writer, const std::string& prefix, const DecoderLayer& layer) {
  if (layer.experts) {
    const Experts& experts = *layer.experts;
    const std::string moe = prefix + "block_sparse_moe.";
    writer.add(moe + "gate.weight", experts.router);
    const int64_t inner = experts.down.size(2);
    for (int64_t e = 0; e < experts.router.size(0); ++e) {
      const std::string expert = moe + "experts." + std::to_string(e) + '.';
      writer.add(expert + "w1.weight", experts.gate_up[e].narrow(0, 0, inner));
      writer.add(expert + "w2.weight", experts.down[e]);
      writer.add(expert + "w3.weight", experts.gate_up[e].narrow(0, inner, inner));
    }
    return;
  }
  const int64_t inner = layer.down.size(1);
  const std::string mlp = prefix + "mlp.";
  writer.add(mlp + "gate_proj.weight", layer.gate_up.narrow(0, 0, inner));
  writer.add(mlp + "up_proj.weight", layer.gate_up.narrow(0, inner, inner));
  writer.add(mlp + "down_proj.weight", layer.down);
  if (!layer.down_bias.defined()) return;
  writer.add(mlp + "gate_proj.bias", layer.gate_up_bias.narrow(0, 0, inner));
  writer.add(mlp + "up_proj.bias", layer.gate_up_bias.narrow(0, inner, inner));
  writer.add(mlp + "down_proj.bias", layer.down_bias);
}

void add_layer(DirectoryWriter& writer, const std::string& prefix, const DecoderLayer& layer) {
  const bool post = layer.attention_post_norm.defined();
  writer.add(prefix + "input_layernorm.weight", layer.attention_norm);
  writer.add(prefix + (post ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight"), layer.mlp_norm);
  if (post) {
    writer.add(prefix + "post_attention_layernorm.weight", layer.attention_post_norm);
    writer.add(prefix + "post_feedforward_layernorm.weight", layer.mlp_post_norm);
  }
  add_mlp(writer, prefix, layer);
  for (const auto& [name, tensor] : named_tensors(layer.attention)) writer.add(prefix + "self_attn." + name, tensor);
}

}  // namespace

Decoder load_decoder(const Checkpoint& checkpoint, at::Device device, at::ScalarType dtype) {
  check_tensors(checkpoint);
  const TensorSource source(checkpoint, device, dtype);
  Decoder decoder;
  decoder.config = checkpoint.config();
  decoder.embedding = source.tensor("model.embed_tokens.weight");
  decoder.head = decoder.config.tie_word_embeddings ? decoder.embedding : source.tensor("lm_head.weight");
  decoder.final_norm = source.norm("model.norm.weight");
  for (int64_t layer = 0; layer < decoder.config.num_layers; ++layer) decoder.layers.push_back(read_layer(source, layer));
  return decoder;
}

void save_decoder(const Decoder& decoder, const std::string& tokenizer_json, const Json& conversion,
                  const std::filesystem::path& out) {
  save_model(decoder, {{"tokenizer.json", tokenizer_json}}, conversion, out);
}

void save_model(const Decoder& decoder, const FolderFiles& files, const Json& conversion, const std::filesystem::path& out, const CheckWritten& check) {
  ModelConfig config = decoder.config;
  const auto plain = [&](const DecoderLayer& layer) { return is_plain(layer.attention, config); };
  if (config.architecture != "llama" || !computation_to_json(config).empty() || !std::all_of(decoder.layers.begin(), decoder.layers.end(), plain)) {
    Json layers = Json::array();
    for (const DecoderLayer& layer : decoder.layers) layers.push_back(describe_attention(layer.attention));
    config.mla = Json{{"format", 2}, {"layers", layers}};
  }

  DirectoryWriter writer(out, config_to_hf(config));
  writer.add_files(files);
  writer.add("model.embed_tokens.weight", decoder.embedding);
  writer.add("model.norm.weight", decoder.final_norm);
  if (!config.tie_word_embeddings) writer.add("lm_head.weight", decoder.head);
  for (std::size_t index = 0; index < decoder.layers.size(); ++index) {
    throw_if_interrupted();
    add_layer(writer, "model.layers." + std::to_string(index) + '.', decoder.layers[index]);
  }
  writer.finish(conversion, check);
}

}  // namespace mla
