// A converted model as DeepSeek's classes compute it (DeepseekV3ForCausalLM, deepseek2 in GGUF): one shared rope key, kv_b per query
// head, scores scaled by (n + d_R)^-1/2, always a norm on the latent, no bias on q, lm_head apart. Still a Decoder of ours, so that what
// the change costs is measured before a file is written. After spec/hf_export.md, section 9.
#pragma once
#include <optional>

#include "core/model/attention_store.h"

namespace mla {

struct DeepseekShape {
  const char* target = "transformers";  // for messages
  // Biases exist and make the norm exact: the latent grows by a channel of the constant B, beside which it is small, so that
  // B / rms is 1 to first order and the norm's weight takes B out again. The error is |c|^2 / (2 B^2). Without it the latent's norm must
  // be there already (methods/latent_norms.h), and a model with biases is refused.
  bool constant_channel = true;
  // Queries go through q_a and its norm whatever the model (llama.cpp): q_a undoes the gain of the layer's input norm, so that its rows
  // have rms 1 and the norm, with that gain as its weight, gives the input back exactly. Costs D^2 weights per layer.
  bool query_latent = false;
  bool free_frequencies = true;  // rotary frequencies that are no geometric grid from 1 on
  std::vector<int64_t> latent_widths;  // the latent is padded to the first that holds it; empty: any width will do
  int64_t rope_width = 0;              // the rope key is padded to it; 0: as it is
  int64_t most_layers = 0;             // 0: any number
};
// Of `--for transformers`, `--for vllm`, `--for llama.cpp`. Throws ConfigError for another name.
DeepseekShape deepseek_shape(const std::string& target, int64_t layers);

// The same function in DeepSeek's form, at the model's own dtype and device; `theta` of its grid is in config.rope_theta.
// Throws ConfigError "[export] ..." naming the layer and the reason where the target cannot hold the model.
Decoder to_deepseek_form(const Decoder& model, const DeepseekShape& shape);
// The same layer by layer; the form's attention waits in a scratch file of `folder`, or in memory without one.
LayerStream to_deepseek_form(const LayerStream& model, const DeepseekShape& shape, const std::optional<std::filesystem::path>& folder);

// theta where frequency i of the list is theta^(-i/size), as rope_type "default" has it; nothing where the list is another one.
std::optional<double> grid_theta(const at::Tensor& inv_freq);

// Rope rows of every head between (i, i + R/2) pairs, as ours, and (2i, 2i+1) pairs, as DeepSeek's files: rows [..., heads * (before + R)]
// along the first dimension, of which each head's last R are reordered.
at::Tensor interleave_rope_rows(const at::Tensor& rows, int64_t heads, int64_t rope);
at::Tensor separate_rope_rows(const at::Tensor& rows, int64_t heads, int64_t rope);

}  // namespace mla
