#include "methods/splitters/per_query_head.h"

namespace mla {
namespace {

class PerQueryHead : public Splitter {
 public:
  explicit PerQueryHead(std::unique_ptr<Splitter> inner) : inner_(std::move(inner)) {}
  StatKinds needs() const override { return inner_->needs(); }
  Json state() const override { return {{"splitter", "per_query_head"}, {"inner", inner_->state()}}; }

  SplitLayer split(const GqaWeights& layer, const LayerStats& stats) const override {
    const int64_t share = layer.heads / layer.kv_heads;
    const auto repeated = [&](const at::Tensor& keys) {  // [G*h, X] -> [H*h, X]
      return keys.view({layer.kv_heads, layer.head_dim, keys.size(1)}).repeat_interleave(share, 0).flatten(0, 1);
    };
    GqaWeights wide = layer;
    wide.k = repeated(layer.k);
    wide.kv_heads = layer.heads;
    LayerStats wide_stats = stats;
    if (stats.pairs.key.defined() && stats.pairs.key.size(0) == layer.kv_heads) wide_stats.pairs.key = stats.pairs.key.repeat_interleave(share, 0);
    SplitLayer split = inner_->split(wide, wide_stats);
    split.value_share = share;
    const at::Tensor copies = repeated(at::eye(layer.kv_heads * layer.head_dim, split.v.options()));
    for (at::Tensor* map : {&split.free_map, &split.rope_map})
      if (map->defined()) *map = map->matmul(copies);
    return split;
  }

 private:
  std::unique_ptr<Splitter> inner_;
};

}  // namespace

std::unique_ptr<Splitter> make_per_query_head(std::unique_ptr<Splitter> inner) { return std::make_unique<PerQueryHead>(std::move(inner)); }

}  // namespace mla
