// Attention weights of a model's layers while it is converted: in memory, or in a scratch file where the model streams.
#pragma once
#include <filesystem>
#include <optional>

#include "core/checkpoint/tensor_scratch.h"
#include "core/model/layer_stream.h"

namespace mla {

class AttentionStore {
 public:
  // `folder` is where the scratch file lies; without one everything stays in memory. Throws as TensorScratch does.
  explicit AttentionStore(const std::optional<std::filesystem::path>& folder);
  void add(const AttentionWeights& weights);  // of the next layer
  void replace(int64_t layer, const AttentionWeights& weights);
  // As it was added, on its device. Of an outline in a scratch file the tensors have shapes alone.
  AttentionWeights read(int64_t layer, LayerParts parts = LayerParts::whole) const;

 private:
  struct Kept {
    AttentionWeights outline;  // with a scratch file its tensors are on device meta
    at::Device device = at::kCPU;
    std::vector<std::size_t> places;  // of the defined tensors, in order
  };
  Kept keep(const AttentionWeights& weights);

  std::optional<TensorScratch> scratch_;
  std::vector<Kept> layers_;
};

// The model with the attention that the store holds.
LayerStream with_attention(const LayerStream& model, Decoder frame, std::shared_ptr<const AttentionStore> attention);

}  // namespace mla
