// Hugging Face's tensor names in a GGUF file.
#pragma once
#include <optional>
#include <string>

#include "core/checkpoint/model_config.h"

namespace mla {

// Where a tensor lies: one of the file's, or one expert's part of it.
struct GgufPlace {
  std::string name;        // "blk.3.attn_q.weight"
  int64_t part = 0, parts = 1;  // of `parts` equal pieces along the slowest dimension; 1: the whole tensor
};
// model.layers.3.self_attn.q_proj.weight -> blk.3.attn_q.weight. Experts of one kind lie in one tensor ("ffn_gate_exps"), or, in older
// files, each in its own. nullopt when GGUF has no such tensor.
std::optional<GgufPlace> gguf_place(const std::string& name, const ModelConfig& config, const GgufFile& file);

}  // namespace mla
