#include "methods/factorizers/balanced_pca.h"

namespace mla {
namespace {

class BalancedPca : public Factorizer {
 public:
  explicit BalancedPca(const BalancedPcaOptions& options) : options_(options) {}
  StatKinds needs() const override { return {.input_moments = true, .prefix_moments = options_.recalibrate}; }
  Json state() const override {
    return {{"factorizer", "balanced_pca"}, {"balance", options_.balance ? Json(*options_.balance) : Json()}, {"damping", options_.damping}};
  }

  Spectrum factorize(const SplitLayer& layer, const LayerStats& stats) const override {
    const double alpha = options_.balance ? ratio(layer, stats) : 1.0;
    const at::Tensor weights = at::cat({layer.k_free / alpha, layer.v});  // [P + G*v, D]
    const Pca pca = damped_pca(project_moment(weights, stats.input.second), options_.damping);

    // Rebuild per group: [k_up_g alpha, 0; 0, I_g], then times the basis.
    const int64_t n = layer.nope_dim, v = layer.v_dim, free_dims = layer.k_free.size(0);
    at::Tensor rebuild = at::zeros({layer.groups, n + v, weights.size(0)}, at::kDouble);
    for (int64_t g = 0; g < layer.groups; ++g) {
      rebuild[g].narrow(0, 0, n).narrow(1, 0, free_dims).copy_(layer.k_up.narrow(0, g * n, n) * alpha);
      rebuild[g].narrow(0, n, v).narrow(1, free_dims + g * v, v).copy_(at::eye(v, at::kDouble));
    }
    return {{{pca.vectors.t().matmul(weights), rebuild.flatten(0, 1).matmul(pca.vectors), pca.values, true}}};
  }

 private:
  // As the released code: the values' first d_R columns are left out (a copy of the keys' slice).
  double ratio(const SplitLayer& layer, const LayerStats& stats) const {
    const auto column_norms = [&](const at::Tensor& w) { return project_moment(w, stats.input.second).diagonal().sqrt(); };
    const at::Tensor keys = column_norms(layer.k_free), values = column_norms(layer.v);
    const int64_t skipped = layer.rope.dims();
    return keys.mean().item<double>() / (values.slice(0, skipped).mean().item<double>() * *options_.balance);
  }
  BalancedPcaOptions options_;
};

}  // namespace

Pca damped_pca(const at::Tensor& moment, double damping) {
  const at::Tensor damped = moment + at::eye(moment.size(0), at::kDouble) * (damping * moment.diagonal().mean());
  const auto [values, vectors] = at::linalg_eigh(damped);
  return {values.flip(0), vectors.flip(1)};
}

std::unique_ptr<Factorizer> make_balanced_pca(const BalancedPcaOptions& options) { return std::make_unique<BalancedPca>(options); }

}  // namespace mla
