#include "methods/splitters/greedy_pairs.h"

#include "core/base/error.h"
#include "methods/splitters/pair_selection.h"

namespace mla {
namespace {

constexpr int64_t kQueries = 48, kKeys = 96;  // positions of a sample that are compared, evenly spaced

// Evenly spaced positions that end at the last one.  [min(count, tokens)]
at::Tensor spaced(int64_t tokens, int64_t count) {
  const int64_t n = std::min(tokens, count);
  return tokens - 1 - at::arange(n, at::kLong).mul(tokens).floor_divide(n).flip(0);
}

class GreedyPairs : public Splitter {
 public:
  explicit GreedyPairs(int64_t rope_dim) : pairs_(rope_dim / 2) {}
  StatKinds needs() const override { return {.row_reservoir = true}; }
  Json state() const override { return {{"splitter", "greedy_pairs"}, {"pairs", pairs_}, {"queries", kQueries}, {"keys", kKeys}}; }
  SplitLayer split(const GqaWeights& layer, const LayerStats& stats) const override {
    if (!stats.rows.query.defined()) fail<ConfigError>("greedy_pairs", "wanted one calibration sample without padding, got none; use longer texts");
    std::vector<at::Tensor> kept;
    for (int64_t g = 0; g < layer.kv_heads; ++g) {
      const std::vector<int64_t> order = greedy_order(score_changes(stats.rows, layer.rope.inv_freq[0], g), pairs_);
      kept.push_back(at::zeros({layer.head_dim / 2}, at::kBool).index_fill_(0, at::tensor(order, at::kLong), true));
    }
    return split_by_pairs(layer, kept);
  }

 private:
  int64_t pairs_;
};

}  // namespace

at::Tensor score_changes(const RowReservoir& rows, const at::Tensor& inv_freq, int64_t g) {
  const int64_t tokens = rows.query.size(1), share = rows.query.size(2) / rows.key.size(2), half = inv_freq.size(0);
  const at::Tensor at_query = spaced(tokens, kQueries), at_key = spaced(tokens, kKeys);
  const auto there = [&](const at::Tensor& t) { return t.to(rows.query.device()); };
  const at::Tensor q = rows.query.index_select(1, there(at_query)).narrow(2, g * share, share).unflatten(3, {2, half});  // [N,T,share,2,half]
  const at::Tensor k = rows.key.index_select(1, there(at_key)).select(2, g).unflatten(2, {2, half});                     // [N,S,2,half]
  const at::Tensor distance = at_query.unsqueeze(1) - at_key.unsqueeze(0);                                        // [T,S]
  const at::Tensor visible = there(distance.ge(0).flatten().nonzero().flatten());
  std::vector<at::Tensor> changes;
  for (int64_t pair = 0; pair < half; ++pair) {
    const auto part = [&](const at::Tensor& t, int64_t component) { return t.select(-2, component).select(-1, pair); };
    const auto outer = [&](int64_t a, int64_t b) {  // [N,share,T,S]
      return part(q, a).permute({0, 2, 1}).unsqueeze(3) * part(k, b).unsqueeze(1).unsqueeze(1);
    };
    const at::Tensor same = outer(0, 0) + outer(1, 1), cross = outer(1, 0) - outer(0, 1);
    const at::Tensor angle = distance.to(at::kDouble) * inv_freq[pair];
    // (R(t) q) . (R(s) k) with R by (t - s): cos * (q.k) + sin * (q_x k_y - q_y k_x), and unrotated q.k.
    const at::Tensor change = same * there((1 - angle.cos()).to(at::kFloat)) + cross * there(angle.sin().to(at::kFloat));
    changes.push_back(change.flatten(2).index_select(2, visible).flatten());
  }
  return at::stack(changes);
}

std::vector<int64_t> greedy_order(const at::Tensor& changes, int64_t count) {
  std::vector<int64_t> order, left;
  for (int64_t pair = 0; pair < changes.size(0); ++pair) left.push_back(pair);
  at::Tensor difference = changes.sum(0);  // of no pair rotated
  while (static_cast<int64_t>(order.size()) < count) {
    std::vector<at::Tensor> losses;
    for (const int64_t pair : left) losses.push_back((difference - changes[pair]).abs_().mean());
    const auto best = static_cast<std::size_t>(at::stack(losses).argmin().item<int64_t>());  // of equals the first
    difference = difference - changes[left[best]];
    order.push_back(left[best]);
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(best));
  }
  return order;
}

std::unique_ptr<Splitter> make_greedy_pairs(int64_t rope_dim, int64_t head_dim) {
  if (rope_dim % 2 != 0 || rope_dim > head_dim)
    fail<ConfigError>("greedy_pairs", "wanted rope_dim even and at most head_dim = ", head_dim, ", got ", rope_dim);
  return std::make_unique<GreedyPairs>(rope_dim);
}

}  // namespace mla
