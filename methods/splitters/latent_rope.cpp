#include "methods/splitters/latent_rope.h"

#include "core/base/error.h"
#include "core/model/rope_plan.h"

namespace mla {
namespace {

class LatentRope : public Splitter {
 public:
  LatentRope(const LatentRopeOptions& options, RopePlan head) : options_(options), head_(std::move(head)) {}
  StatKinds needs() const override { return {.input_moments = options_.metric != SvdMetric::weights}; }
  Json state() const override {
    return {{"splitter", "latent_rope"}, {"heads", options_.heads}, {"dims", options_.dims}, {"metric", static_cast<int>(options_.metric)},
            {"absorb", options_.absorb}};
  }

  SplitLayer split(const GqaWeights& layer, const LayerStats& stats) const override {
    const int64_t w = options_.heads * options_.dims, h = layer.head_dim, share = layer.heads / layer.kv_heads;
    const at::Tensor q = layer.q.to(at::kDouble), k = layer.k.to(at::kDouble);
    const at::Tensor basis = leading(k, stats, w);                                        // [G*h, w], orthonormal columns
    const at::Tensor up = basis.matmul(polar(basis.t().matmul(slots(layer).to(k.device())))).index_select(1, pair_order().to(k.device()));  // [G*h, w]
    SplitLayer split;
    split.rope_map = up.t();
    split.k_rope = up.t().matmul(k);
    std::vector<at::Tensor> q_rope;
    for (int64_t head = 0; head < layer.heads; ++head)
      q_rope.push_back(up.narrow(0, head / share * h, h).t().matmul(q.narrow(0, head * h, h)));
    split.q_rope = at::cat(q_rope);
    split.q_nope = q.narrow(0, 0, 0);
    split.rope = head_;
    split.rope.attention_factor = layer.rope.attention_factor;
    split.rope.each([&](at::Tensor& t) { t = t.repeat({1, options_.heads}); });
    split.heads = layer.heads;
    split.groups = layer.kv_heads;
    split.nope_dim = 0;
    split.scale = layer.scale;
    add_values(split, layer, stats, w);
    return split;
  }

 private:
  at::Tensor leading(const at::Tensor& rows, const LayerStats& stats, int64_t rank) const {
    const Directions found = principal_directions({rows}, stats.input.second, options_.metric).front();
    if (found.vectors.size(1) < rank)
      fail<ConfigError>("mla_retrofit", "wanted num_kv_heads * head_dim of at most ", found.vectors.size(1), ", got ", rank);
    return found.vectors.narrow(1, 0, rank);
  }

  void add_values(SplitLayer& split, const GqaWeights& layer, const LayerStats& stats, int64_t w) const {
    const int64_t h = layer.head_dim, share = layer.heads / layer.kv_heads;
    const at::Tensor v = layer.v.to(at::kDouble);
    split.k_free = v.narrow(0, 0, 0);
    split.k_up = at::zeros({0, 0}, v.options());
    split.v = v;
    split.o = layer.o;
    split.v_dim = h;
    if (!options_.absorb) return;
    const at::Tensor up = leading(v, stats, w);
    const at::Tensor o = layer.o.to(at::kDouble);
    std::vector<at::Tensor> absorbed;
    for (int64_t head = 0; head < layer.heads; ++head) absorbed.push_back(o.narrow(1, head * h, h).matmul(up.narrow(0, head / share * h, h)));
    split.o = at::cat(absorbed, 1).to(layer.o.options()).contiguous();
    split.v_dim = w;
    split.k_free = up.t().matmul(v);
    split.k_up = at::zeros({0, w}, v.options());
    split.v_up = at::eye(w, v.options()).repeat({layer.kv_heads, 1});
    split.v = split.v_up.matmul(split.k_free);
  }

  // [G*h, w]: column (head j, half, pair i) is the key row that this slot of the latent stands for.
  at::Tensor slots(const GqaWeights& layer) const {
    const int64_t h = layer.head_dim, m = options_.dims;
    at::Tensor target = at::zeros({layer.kv_heads * h, options_.heads * m}, at::kDouble);
    for (int64_t j = 0; j < options_.heads; ++j)
      for (int64_t side = 0; side < 2; ++side)
        for (int64_t i = 0; i < m / 2; ++i) {
          const int64_t pair = std::min(i * h / m, h / 2 - 1);
          target[j % layer.kv_heads * h + side * (h / 2) + pair][j * m + side * (m / 2) + i] = 1;
        }
    return target;
  }

  // Orthogonal factor nearest to `matrix`.
  static at::Tensor polar(const at::Tensor& matrix) {
    const auto [u, s, vh] = at::linalg_svd(matrix, false);
    return u.matmul(vh);
  }

  // The latent's rows in the order of one wide rope key: real parts of all heads, then imaginary parts.
  at::Tensor pair_order() const {
    const at::Tensor rows = at::arange(options_.heads * options_.dims, at::kLong).view({options_.heads, 2, options_.dims / 2});
    return rows.permute({1, 0, 2}).flatten();
  }

  LatentRopeOptions options_;
  RopePlan head_;  // of m dims
};

}  // namespace

std::unique_ptr<Splitter> make_latent_rope(const LatentRopeOptions& options, const ModelConfig& model) {
  if (options.dims % 2 != 0)
    fail<ConfigError>("mla_retrofit", "wanted an even head_dim with rope_mode extend, as its dims are rotated in pairs, got ", options.dims);
  return std::make_unique<LatentRope>(options, rope_plan(model, options.dims));
}

}  // namespace mla
