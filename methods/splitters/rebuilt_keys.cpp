#include "methods/splitters/rebuilt_keys.h"

namespace mla {
namespace {

class RebuiltKeys : public Splitter {
 public:
  StatKinds needs() const override { return {}; }
  Json state() const override { return {{"splitter", "rebuilt_keys"}}; }
  SplitLayer split(const GqaWeights& layer, const LayerStats&) const override {
    SplitLayer split;
    split.q_rope = layer.q.to(at::kDouble);
    split.k_free = layer.k.to(at::kDouble);
    split.v = layer.v.to(at::kDouble);
    split.o = layer.o;
    split.rope = layer.rope;
    split.k_up = at::eye(split.k_free.size(0), split.k_free.options());
    split.free_map = split.k_up;
    split.heads = layer.heads;
    split.groups = layer.kv_heads;
    split.nope_dim = split.v_dim = layer.head_dim;
    split.scale = layer.scale;
    return split;
  }
};

}  // namespace

std::unique_ptr<Splitter> make_rebuilt_keys() { return std::make_unique<RebuiltKeys>(); }

}  // namespace mla
