// The object "computation" of our own config.json: what of a model's computation a plain llama does not have.
#pragma once
#include "core/checkpoint/config_fields.h"
#include "core/checkpoint/model_config.h"

namespace mla {

// Empty for a plain llama. Positions and scores of attention layers are not in it: each layer's description has its own.
Json computation_to_json(const ModelConfig& config);
// Throws CheckpointError naming the field.
void read_computation(ConfigFields& fields, ModelConfig& config);

// Sizes that any model has; and what a family adds. Each throws CheckpointError naming the field and its range.
void check_config(const ModelConfig& config, const std::string& where);
void check_whole_config(const ModelConfig& config, const std::string& where);

}  // namespace mla
