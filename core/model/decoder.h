// A llama-style decoder: RMS norm, attention in one of three forms, a gated MLP or experts. All tensors of one model share dtype and
// device, but for norms that a family keeps in fp32 (ModelConfig::wide_norms).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/checkpoint/checkpoint.h"
#include "core/model/attention.h"
#include "core/model/experts.h"

namespace mla {

struct DecoderLayer {
  at::Tensor attention_norm;  // [D]
  AttentionWeights attention;
  at::Tensor mlp_norm;  // [D]
  at::Tensor gate_up;   // [2*I, D], gate rows first; undefined where there are experts
  at::Tensor down;      // [D, I]
  at::Tensor gate_up_bias, down_bias;                // optional
  at::Tensor attention_post_norm, mlp_post_norm;     // [D], optional: norms of what attention and MLP add (gemma2)
  std::optional<Experts> experts;                    // in place of the MLP
};

// Calls visit(tensor) on every tensor of a layer, attention's and undefined ones included.
void each_layer_tensor(DecoderLayer& layer, const std::function<void(at::Tensor&)>& visit);

struct Decoder {
  ModelConfig config;
  at::Tensor embedding;  // [V, D]
  std::vector<DecoderLayer> layers;
  at::Tensor final_norm;  // [D]
  at::Tensor head;        // [V, D]; the embedding itself when tied

  at::ScalarType dtype() const { return embedding.scalar_type(); }
  at::Device device() const { return embedding.device(); }

  // ids [B,T] int64 -> normed last hidden states [B,T,D]. With a cache the tokens follow those in it.
  at::Tensor last_hidden(const at::Tensor& ids, KvCache* cache = nullptr, MlaPath path = MlaPath::automatic) const;
  // Packed sequences: ids [N] of all segments -> normed last hidden states [N,D]. Caches that are empty are given their layers.
  at::Tensor packed_hidden(const at::Tensor& ids, const std::vector<Segment>& segments) const;
  // hidden [..., D] -> logits [..., V], fp32, soft-capped where the model caps them
  at::Tensor logits(const at::Tensor& hidden) const;

  at::Tensor embed(const at::Tensor& ids) const;  // [B,T] -> [B,T,D]
  // The layer's normed attention input, what calibration measures.  [B,T,D] -> [B,T,D]
  at::Tensor attention_input(int64_t layer, const at::Tensor& residual) const;
  // What the layer's attention adds to the residual stream: its output, or that normed where the model norms it.  [B,T,D] -> [B,T,D]
  at::Tensor after_attention(int64_t layer, const at::Tensor& output) const;
  at::Tensor attention_output(int64_t layer, const at::Tensor& normed, LayerCache* cache = nullptr, MlaPath path = MlaPath::automatic) const;
  // What the down projection of the layer's MLP reads: norm, gate and up of `residual`. Not of experts.  [B,T,D] -> [B,T,I]
  at::Tensor mlp_values(int64_t layer, const at::Tensor& residual) const;
  // Gated MLP or experts of the layer, norms included: what is added to `residual`.  [B,T,D] -> [B,T,D]
  at::Tensor mlp(int64_t layer, const at::Tensor& residual) const;
  // residual + attention, then + MLP. `normed` is attention_input(layer, residual).
  at::Tensor layer_forward(int64_t layer, const at::Tensor& residual, const at::Tensor& normed,
                           LayerCache* cache = nullptr, MlaPath path = MlaPath::automatic) const;

  int64_t parameters() const;                           // weights counted once
  std::vector<int64_t> cache_values_by_layer() const;  // per token, counted from the cache object
  double cache_values_per_token_per_layer() const;     // their mean
};

// Reads a whole model (GGUF, HF directory, or a directory written by save_decoder).
Decoder load_decoder(const Checkpoint& checkpoint, at::Device device, at::ScalarType dtype);
// Writes a safetensors directory that load_decoder reads back, tokenizer.json included; `conversion` becomes
// mla_conversion.json. Throws ConfigError when `out` exists and is not empty.
void save_decoder(const Decoder& decoder, const std::string& tokenizer_json, const Json& conversion,
                  const std::filesystem::path& out);

at::ScalarType parse_dtype(const std::string& name);   // fp32 | bf16 | fp16; ConfigError otherwise
at::Device parse_device(const std::string& name);      // auto | cpu | cuda; opens the CUDA libraries when asked for
const char* dtype_name(at::ScalarType dtype);
// From now on equal inputs give equal bits on a card too: ATen takes the forms of its operators that sum in one order, and throws for an
// operator that has none. To be called before anything runs there; does nothing for the CPU, where it is always so.
void compute_deterministically(at::Device device);

// A NaN or infinity never becomes a number in a table: throws NumericalError naming `where`.
void require_finite(const at::Tensor& values, const std::string& where);

}  // namespace mla
