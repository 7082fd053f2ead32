#include "core/model/attention_store.h"

namespace mla {

AttentionStore::AttentionStore(const std::optional<std::filesystem::path>& folder) {
  if (folder) scratch_.emplace(*folder);
}

AttentionStore::Kept AttentionStore::keep(const AttentionWeights& weights) {
  Kept kept{weights, at::kCPU, {}};
  if (!scratch_) return kept;
  each_attention_tensor(kept.outline, [&](at::Tensor& tensor) {
    if (!tensor.defined()) return;
    kept.device = tensor.device();
    kept.places.push_back(scratch_->put(tensor));
    tensor = at::empty(tensor.sizes(), tensor.options().device(at::kMeta));
  });
  return kept;
}

void AttentionStore::add(const AttentionWeights& weights) { layers_.push_back(keep(weights)); }

void AttentionStore::replace(int64_t layer, const AttentionWeights& weights) { layers_.at(static_cast<std::size_t>(layer)) = keep(weights); }

AttentionWeights AttentionStore::read(int64_t layer, LayerParts parts) const {
  const Kept& kept = layers_.at(static_cast<std::size_t>(layer));
  AttentionWeights weights = kept.outline;
  if (!scratch_ || parts == LayerParts::outline) return weights;
  auto place = kept.places.begin();
  each_attention_tensor(weights, [&](at::Tensor& tensor) {
    if (tensor.defined()) tensor = scratch_->get(*place++).to(kept.device);
  });
  return weights;
}

LayerStream with_attention(const LayerStream& model, Decoder frame, std::shared_ptr<const AttentionStore> attention) {
  return model.changed(std::move(frame), [attention = std::move(attention)](int64_t layer, LayerParts parts, DecoderLayer& weights) {
    weights.attention = attention->read(layer, parts);
  });
}

}  // namespace mla
