#include "methods/splitters/pair_selection.h"

#include "core/base/error.h"

namespace mla {
namespace {

class PairSelection : public Splitter {
 public:
  explicit PairSelection(const PairSelectionOptions& options) : options_(options) {}
  StatKinds needs() const override { return {.pair_norms = options_.rule == PairRule::two_norm}; }
  Json state() const override {
    return {{"splitter", "pairs"}, {"rule", static_cast<int>(options_.rule)}, {"rope_dim", options_.rope_dim}, {"start", options_.uniform_start}};
  }

  SplitLayer split(const GqaWeights& layer, const LayerStats& stats) const override {
    std::vector<at::Tensor> kept;
    for (int64_t g = 0; g < layer.kv_heads; ++g) kept.push_back(kept_pairs(g, layer.head_dim / 2, stats));
    return split_by_pairs(layer, kept);
  }

 private:
  // [h/2] bool: the pairs of KV head g that stay rotated.
  at::Tensor kept_pairs(int64_t g, int64_t half, const LayerStats& stats) const {
    const int64_t pairs = options_.rope_dim / 2;
    const at::Tensor index = at::arange(half, at::kLong);
    switch (options_.rule) {
      case PairRule::high: return index < pairs;
      case PairRule::low: return index >= half - pairs;
      case PairRule::uniform: {
        const int64_t step = half / pairs;
        return at::remainder(index, step) == options_.uniform_start;
      }
      case PairRule::two_norm: return (two_norm_rank(stats.pairs)[g] < pairs).cpu();
    }
    fail<ConfigError>("mha2mla", "unknown rule");
  }
  PairSelectionOptions options_;
};

}  // namespace

SplitLayer split_by_pairs(const GqaWeights& layer, const std::vector<at::Tensor>& kept) {
  const int64_t h = layer.head_dim, half = h / 2, share = layer.heads / layer.kv_heads;
  const at::Tensor q = layer.q.to(at::kDouble), k = layer.k.to(at::kDouble);
  const at::Tensor identity = at::eye(layer.kv_heads * h, k.options());
  std::vector<at::Tensor> q_rope(static_cast<std::size_t>(layer.heads)), q_nope = q_rope, k_rope, k_free, rope_map, free_map;
  std::vector<RopePlan> plans;
  for (int64_t g = 0; g < layer.kv_heads; ++g) {
    const at::Tensor keep = kept[static_cast<std::size_t>(g)].nonzero().flatten(), left = kept[static_cast<std::size_t>(g)].logical_not().nonzero().flatten();
    const at::Tensor rotated = at::cat({keep, keep + half}).to(k.device()), still = at::cat({left, left + half}).to(k.device());
    k_rope.push_back(k.narrow(0, g * h, h).index_select(0, rotated));
    k_free.push_back(k.narrow(0, g * h, h).index_select(0, still));
    rope_map.push_back(identity.narrow(0, g * h, h).index_select(0, rotated));
    free_map.push_back(identity.narrow(0, g * h, h).index_select(0, still));
    plans.push_back(layer.rope.pairs(keep));
    for (int64_t head = g * share; head < (g + 1) * share; ++head) {
      q_rope[static_cast<std::size_t>(head)] = q.narrow(0, head * h, h).index_select(0, rotated);
      q_nope[static_cast<std::size_t>(head)] = q.narrow(0, head * h, h).index_select(0, still);
    }
  }
  SplitLayer split;
  split.q_rope = at::cat(q_rope);
  split.q_nope = at::cat(q_nope);
  split.k_rope = at::cat(k_rope);
  split.k_free = at::cat(k_free);
  split.k_up = at::eye(split.k_free.size(0), k.options());
  split.v = layer.v.to(at::kDouble);
  split.o = layer.o;
  split.rope_map = at::cat(rope_map);
  split.free_map = at::cat(free_map);
  split.rope = stacked(plans);
  split.heads = layer.heads;
  split.groups = layer.kv_heads;
  split.nope_dim = split.k_free.size(0) / layer.kv_heads;
  split.v_dim = h;
  split.scale = layer.scale;
  return split;
}

at::Tensor two_norm_rank(const PairNorms& norms) {
  const int64_t groups = norms.key.size(0), share = norms.query.size(0) / groups;
  const at::Tensor score = (norms.query.unflatten(0, {groups, share}) * norms.key.unsqueeze(1)).sum(1);
  return score.argsort(true, -1, true).argsort(true, -1, false);
}

std::unique_ptr<Splitter> make_pair_selection(const PairSelectionOptions& options, int64_t head_dim) {
  if (options.rope_dim % 2 != 0 || options.rope_dim > head_dim)
    fail<ConfigError>("mha2mla", "wanted rope_dim even and at most head_dim = ", head_dim, ", got ", options.rope_dim);
  const int64_t step = head_dim / options.rope_dim;
  if (options.rule == PairRule::uniform && (head_dim % options.rope_dim != 0 || head_dim / 2 % step != 0 || options.uniform_start >= step))
    fail<ConfigError>("mha2mla", "wanted rope_dim to divide head_dim = ", head_dim, " and uniform_start below their quotient ", step,
                      ", got rope_dim ", options.rope_dim, " and uniform_start ", options.uniform_start);
  return std::make_unique<PairSelection>(options);
}

}  // namespace mla
