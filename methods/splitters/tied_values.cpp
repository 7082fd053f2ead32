#include "methods/splitters/tied_values.h"

namespace mla {
namespace {

constexpr double kCutoff = 1e-10;  // relative, of the pseudo-inverse of E[v v^T]

class TiedValues : public Splitter {
 public:
  TiedValues(std::unique_ptr<Splitter> base, const TiedValuesOptions& options) : base_(std::move(base)), options_(options) {}
  StatKinds needs() const override { return base_->needs() | StatKinds{.input_moments = true}; }
  Json state() const override {
    return {{"splitter", "tied_values"}, {"base", base_->state()}, {"nope_dim", options_.nope_dim}, {"alignment", static_cast<int>(options_.alignment)}};
  }

  SplitLayer split(const GqaWeights& layer, const LayerStats& stats) const override {
    SplitLayer split = base_->split(layer, stats);
    const int64_t h = split.v_dim, n = options_.nope_dim, share = split.heads / split.groups, from = split.nope_dim;
    const at::Tensor keys = split.k_up.matmul(split.k_free), second = stats.input.second;
    const at::Tensor o = layer.o.to(at::kDouble);
    std::vector<at::Tensor> tied, q_nope, out;
    for (int64_t g = 0; g < split.groups; ++g) {
      const at::Tensor k = keys.narrow(0, g * from, from), v = split.v.narrow(0, g * h, h);
      const AlignedHead head = align_head(project_moment(k, second), k.matmul(second).matmul(v.t()), project_moment(v, second), options_);
      tied.push_back(head.rotation.matmul(v));
      for (int64_t i = g * share; i < (g + 1) * share; ++i) {
        q_nope.push_back(head.back.t().matmul(split.q_nope.narrow(0, i * from, from)));
        out.push_back(o.narrow(1, i * h, h).matmul(head.rotation.t()));
      }
    }
    const at::Tensor all = at::eye(split.groups * h, o.options());
    split.k_free = at::cat(tied);
    split.k_up = all.view({split.groups, h, -1}).narrow(1, 0, n).flatten(0, 1);
    split.v_up = all;
    split.v = split.k_free;
    split.q_nope = at::cat(q_nope);
    split.o = at::cat(out, 1).to(layer.o.options()).contiguous();
    split.nope_dim = n;
    split.free_map = split.q_basis = split.q_source = at::Tensor();  // the latent is no map of the keys any more
    return split;
  }

 private:
  std::unique_ptr<Splitter> base_;
  TiedValuesOptions options_;
};

// Rows that complete `rows` [n, h] (orthonormal) to an orthogonal matrix.
at::Tensor completed(const at::Tensor& rows) {
  const auto [u, s, vh] = at::linalg_svd(rows, true);  // vh [h, h]: its first n rows span those of `rows`
  return at::cat({rows, vh.slice(0, rows.size(0))});
}

AlignedHead by_regression(const at::Tensor& cross, const at::Tensor& values, int64_t n) {
  const at::Tensor map = cross.matmul(at::linalg_pinv(values, kCutoff, true));  // [h, h], best linear prediction of k from v
  const auto [energies, vectors] = at::linalg_eigh(project_moment(map, values));
  const at::Tensor best = vectors.flip(1).narrow(1, 0, n);  // directions of the prediction that carry most
  const auto [x, s, yh] = at::linalg_svd(best.t().matmul(map), false);
  return {completed(yh), best.matmul(x * s)};
}

AlignedHead by_procrustes(const at::Tensor& keys, const at::Tensor& cross, const at::Tensor& values, int64_t n) {
  const auto [energies, vectors] = at::linalg_eigh(keys);
  const at::Tensor best = vectors.flip(1).narrow(1, 0, n);
  const auto [x, s, yh] = at::linalg_svd(best.t().matmul(cross), false);
  const at::Tensor rows = x.matmul(yh);  // [n, h], orthonormal rows
  const double energy = project_moment(rows, values).diagonal().sum().item<double>();
  return {completed(rows), best * (energy > 0 ? s.sum().item<double>() / energy : 0.0)};
}

}  // namespace

AlignedHead align_head(const at::Tensor& keys, const at::Tensor& cross, const at::Tensor& values, const TiedValuesOptions& options) {
  if (options.alignment == Alignment::regression) return by_regression(cross, values, options.nope_dim);
  return by_procrustes(keys, cross, values, options.nope_dim);
}

std::unique_ptr<Splitter> make_tied_values(std::unique_ptr<Splitter> base, const TiedValuesOptions& options) {
  return std::make_unique<TiedValues>(std::move(base), options);
}

}  // namespace mla
