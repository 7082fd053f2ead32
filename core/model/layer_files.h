// Layers of a checkpoint: as a family's class of transformers writes them, and as our own folders describe them.
#pragma once
#include "core/model/decoder.h"

namespace mla {

// Tensors of one checkpoint on their way to a model.
class TensorSource {
 public:
  TensorSource(const Checkpoint& checkpoint, at::Device device, at::ScalarType dtype) : checkpoint_(checkpoint), device_(device), dtype_(dtype) {}
  at::Tensor tensor(const std::string& name) const { return checkpoint_.load(name, dtype_).to(device_); }
  at::Tensor optional(const std::string& name) const { return checkpoint_.has(name) ? tensor(name) : at::Tensor(); }
  // Weight of an RMS norm, as it is multiplied.
  at::Tensor norm(const std::string& name) const {
    const ModelConfig& c = config();
    const at::Tensor weight = checkpoint_.load(name, c.wide_norms ? at::kFloat : dtype_).to(device_);
    return c.unit_norms ? weight + 1 : weight;
  }
  const ModelConfig& config() const { return checkpoint_.config(); }
  std::string where() const { return checkpoint_.path().string(); }

 private:
  const Checkpoint& checkpoint_;
  at::Device device_;
  at::ScalarType dtype_;
};

// family_layers.cpp: norms, attention and MLP of layer `index`; converted attention where the configuration has `mla`. Shapes are
// those that check_tensors() has compared.
DecoderLayer read_layer(const TensorSource& source, int64_t index);

// described_layers.cpp: what config.json says of a layer's attention under mla.layers[i]; every field and tensor is needed to compute it.
Json describe_attention(const AttentionWeights& weights);
// The attention that mla.layers[index] describes, its tensors under `prefix`. Throws CheckpointError where description and tensors do
// not fit together.
AttentionWeights read_described_attention(const TensorSource& source, const std::string& prefix, int64_t index);

}  // namespace mla
