#include "methods/splitters/mean_rope_key.h"

#include <cmath>

#include "core/base/error.h"
#include "core/model/rope_plan.h"

namespace mla {
namespace {

class MeanRopeKey : public Splitter {
 public:
  MeanRopeKey(const MeanRopeKeyOptions& options, RopePlan key) : options_(options), key_(std::move(key)) {}
  StatKinds needs() const override { return {}; }
  Json state() const override {
    return {{"splitter", "mean_rope_key"}, {"rope_dim", options_.rope_dim}, {"nope_dim", options_.nope_dim}, {"interleaved", options_.interleaved}};
  }

  SplitLayer split(const GqaWeights& layer, const LayerStats&) const override {
    const int64_t h = layer.head_dim, n = options_.nope_dim, rope_dim = options_.rope_dim, heads = layer.heads, groups = layer.kv_heads;
    const at::Tensor q = layer.q.to(at::kDouble), k = layer.k.to(at::kDouble);
    const at::Tensor rope_rows = last_rows(h).to(k.device()), one_head = at::eye(h, k.options());
    const at::Tensor chosen = at::cat({one_head.narrow(0, 0, n), one_head.index_select(0, rope_rows)});  // [n+d_R, h]
    SplitLayer split;
    split.q_basis = chosen.unsqueeze(0).expand({heads, -1, -1}).contiguous();
    split.q_source = q;
    const at::Tensor by_head = q.view({heads, h, q.size(1)});
    split.q_nope = by_head.narrow(1, 0, n).flatten(0, 1);
    split.q_rope = by_head.index_select(1, rope_rows).flatten(0, 1);
    split.rope_map = one_head.index_select(0, rope_rows).repeat({1, groups}) / static_cast<double>(groups);
    split.k_rope = split.rope_map.matmul(k);
    split.k_free = k;  // whole: the released code factorises all of [W_K; W_V] and then drops the other key rows
    split.free_map = at::eye(groups * h, k.options());
    split.k_up = at::kron(at::eye(groups, k.options()), one_head.narrow(0, 0, n));
    split.v = layer.v.to(at::kDouble);
    split.o = layer.o;
    split.rope = key_;
    split.rope.attention_factor = layer.rope.attention_factor;
    split.heads = heads;
    split.groups = groups;
    split.nope_dim = n;
    split.v_dim = h;
    split.scale = layer.scale * std::sqrt(static_cast<double>(h) / static_cast<double>(n + rope_dim));
    return split;
  }

 private:
  // The last d_R dims of a head in the order that our pairs (i, i + d_R/2) read.
  at::Tensor last_rows(int64_t h) const {
    const at::Tensor rows = at::arange(h - options_.rope_dim, h, at::kLong);
    if (!options_.interleaved) return rows;
    return at::cat({rows.slice(0, 0, std::nullopt, 2), rows.slice(0, 1, std::nullopt, 2)});
  }
  MeanRopeKeyOptions options_;
  RopePlan key_;  // of d_R dims
};

}  // namespace

std::unique_ptr<Splitter> make_mean_rope_key(const MeanRopeKeyOptions& options, const ModelConfig& model) {
  const int64_t h = model.head_dim;
  if (options.rope_dim % 2 != 0 || options.rope_dim > h || options.nope_dim > h)
    fail<ConfigError>("x_ecomla", "wanted qk_rope_head_dim even and both head dims at most head_dim = ", h, ", got rope ", options.rope_dim,
                      " and nope ", options.nope_dim);
  return std::make_unique<MeanRopeKey>(options, rope_plan(model, options.rope_dim));
}

}  // namespace mla
