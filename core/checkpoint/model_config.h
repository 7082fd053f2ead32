// What the decoder needs to know of a model, from any file format.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "core/base/json.h"
#include "core/checkpoint/gguf_file.h"

namespace mla {

struct ModelConfig {
  std::string architecture;  // "llama"
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_layers = 0;
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0, max_position = 0;
  double rms_norm_eps = 0, rope_theta = 0;
  bool tie_word_embeddings = false;
  int64_t bos_id = -1, eos_id = -1;
  std::optional<Json> mla;  // of a directory that save_decoder wrote
};

// Each throws CheckpointError naming the field when it is missing, out of range, or would change the computation in a way
// that is not supported.
ModelConfig config_from_hf(const Json& config, const std::string& where);
ModelConfig config_from_gguf(const GgufFile& file);
Json config_to_hf(const ModelConfig& config);

}  // namespace mla
