// The model families that are read: one line each, with what their config.json means and transformers' own defaults (5.24).
#pragma once
#include <string>
#include <vector>

#include "core/checkpoint/config_fields.h"
#include "core/checkpoint/model_config.h"

namespace mla {

struct Family {
  const char* name;        // model_type in config.json
  const char* class_name;  // the class of transformers, architectures[0]
  const char* gguf;        // general.architecture in llama.cpp's files; empty: not read from GGUF
  // Defaults where config.json has no such field.
  double rms_norm_eps, rope_theta;
  bool tied;
  int64_t max_position;
  int64_t head_dim;   // 0: hidden_size / num_attention_heads
  int64_t kv_heads;   // 0: num_attention_heads
  const char* activation;        // its default
  const char* activation_field;  // hidden_act, or hidden_activation
  void (*read)(ConfigFields& fields, ModelConfig& config);  // fields of its own; sizes are known when it is called
  std::vector<const char*> ignored_tensors;                 // beginnings of names that take no part in next-token prediction
  const char* summary;  // for tables
};

// In the order of the page that lists them.
const std::vector<Family>& families();
// Throws CheckpointError with the known names for another one; `where` names the file.
const Family& find_family(const std::string& name, const std::string& where);
const Family& find_gguf_family(const std::string& architecture, bool experts, const std::string& where);

// Rotary frequencies from rope_parameters (transformers 5) or rope_theta and rope_scaling (4). Throws CheckpointError by field.
void read_rope(ConfigFields& fields, const Family& family, ModelConfig& config);

// silu, gelu, gelu_pytorch_tanh and their other names in transformers. Throws CheckpointError naming `field`.
Activation parse_activation(const std::string& name, const std::string& field, const std::string& where);

}  // namespace mla
