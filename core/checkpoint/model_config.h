// What the decoder needs to know of a model, from any file format.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/checkpoint/gguf_file.h"

namespace mla {

enum class Activation { silu, gelu_tanh, gelu };  // of the gated MLP's gate

// How rotary frequencies differ from theta^(-2i/d); the names are those of transformers' rope types.
enum class RopeKind { plain, linear, dynamic, llama3, yarn, longrope };
struct RopeScaling {
  RopeKind kind = RopeKind::plain;
  double factor = 1;
  int64_t original_length = 0;   // positions that the model was trained on before it was extended; 0: not needed
  double attention_factor = 1;   // of cosine and sine
  double low_freq_factor = 1, high_freq_factor = 4;    // llama3
  double beta_fast = 32, beta_slow = 1;                // yarn
  bool truncate = true;                                // yarn: whole bounds of the ramp
  std::vector<double> short_factor, long_factor;       // longrope: divide the frequencies up to original_length, and beyond
};

// Multi-head latent attention as DeepSeek's classes have it.
struct LatentShape {
  std::optional<int64_t> q_lora_rank;
  int64_t kv_lora_rank = 0, nope_dim = 0, rope_dim = 0, v_dim = 0;
  bool interleaved = true;  // rotary pairs are neighbours in the file
};

struct ModelConfig {
  std::string architecture;  // a family of core/checkpoint/families.h: "llama"
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_layers = 0;
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0, max_position = 0;
  double rms_norm_eps = 0, rope_theta = 0;
  bool tie_word_embeddings = false;
  int64_t bos_id = -1, eos_id = -1;

  // What changes the computation beside sizes. The defaults are those of a plain llama.
  bool qkv_bias = false, output_bias = false, mlp_bias = false, qk_norm = false;
  bool fused = false;       // q, k, v are one tensor of the file, gate and up another (phi3)
  bool unit_norms = false;  // the file stores w, and norms multiply with 1 + w (gemma)
  bool wide_norms = false;  // norm weights stay fp32, and so does the product with them (gemma)
  bool post_norms = false;  // attention's and the MLP's output are normed before they are added (gemma2)
  Activation activation = Activation::silu;
  double embedding_scale = 1;
  double attention_softcap = 0, logit_softcap = 0;  // x becomes cap * tanh(x / cap); 0: none
  double score_scale = 0;                           // 0: head_dim^-1/2
  int64_t rotary_dim = 0;                           // the first dims of each head, which are rotated; 0: all
  std::vector<int64_t> windows;                     // per layer: how many tokens a query sees, itself included; 0: all. Empty: all
  int64_t experts = 0, experts_per_token = 0;       // 0: one MLP
  RopeScaling rope;
  std::optional<LatentShape> latent;
  std::optional<Json> mla;  // of a directory that save_decoder wrote

  int64_t rotated() const { return rotary_dim > 0 ? rotary_dim : head_dim; }
  int64_t window(int64_t layer) const { return windows.empty() ? 0 : windows.at(static_cast<std::size_t>(layer)); }
};

// Each throws CheckpointError naming the field when it is missing, out of range, unknown, or would change the computation in a way
// that is not supported.
ModelConfig config_from_hf(const Json& config, const std::string& where);
ModelConfig config_from_gguf(const GgufFile& file);
// A config.json that config_from_hf reads back where `config` is a plain llama or has `mla`; otherwise a description.
Json config_to_hf(const ModelConfig& config);

}  // namespace mla
