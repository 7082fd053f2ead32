// Layers of a checkpoint: as a family's class of transformers writes them, and as our own folders describe them.
#pragma once
#include "core/model/layer_stream.h"

namespace mla {

// Tensors of one checkpoint on their way to a model. On device meta nothing is read: they have the shapes of the file's.
class TensorSource {
 public:
  TensorSource(const Checkpoint& checkpoint, at::Device device, at::ScalarType dtype) : checkpoint_(checkpoint), device_(device), dtype_(dtype) {}
  at::Tensor tensor(const std::string& name) const { return load(name, dtype_); }
  at::Tensor optional(const std::string& name) const { return checkpoint_.has(name) ? tensor(name) : at::Tensor(); }
  // Weight of an RMS norm, as it is multiplied.
  at::Tensor norm(const std::string& name) const {
    const ModelConfig& c = config();
    const at::Tensor weight = load(name, c.wide_norms ? at::kFloat : dtype_);
    return c.unit_norms ? weight + 1 : weight;
  }
  const ModelConfig& config() const { return checkpoint_.config(); }
  std::string where() const { return checkpoint_.path().string(); }
  TensorSource shapes() const { return {checkpoint_, at::kMeta, dtype_}; }

 private:
  at::Tensor load(const std::string& name, at::ScalarType dtype) const {
    return device_.is_meta() ? at::empty(checkpoint_.shape(name), at::dtype(dtype).device(device_)) : checkpoint_.load(name, dtype).to(device_);
  }
  const Checkpoint& checkpoint_;
  at::Device device_;
  at::ScalarType dtype_;
};

// family_layers.cpp: norms, attention and MLP of layer `index`; converted attention where the configuration has `mla`. Shapes are
// those that check_tensors() has compared. Tensors that `parts` does not ask for are on device meta.
DecoderLayer read_layer(const TensorSource& source, int64_t index, LayerParts parts = LayerParts::whole);

// described_layers.cpp: what config.json says of a layer's attention under mla.layers[i]; every field and tensor is needed to compute it.
Json describe_attention(const AttentionWeights& weights);
// The attention that mla.layers[index] describes, its tensors under `prefix`. Throws CheckpointError where description and tensors do
// not fit together.
AttentionWeights read_described_attention(const TensorSource& source, const std::string& prefix, int64_t index);

}  // namespace mla
