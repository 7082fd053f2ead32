#include "methods/factorizers/balanced_pca.h"

namespace mla {
namespace {

constexpr double kNoise = 1e-6;  // of norms in fp64; weights are fp32 or less

class BalancedPca : public Factorizer {
 public:
  explicit BalancedPca(const BalancedPcaOptions& options) : options_(options) {}
  StatKinds needs() const override { return {.input_moments = true, .prefix_moments = options_.recalibrate}; }
  Json state() const override {
    return {{"factorizer", "balanced_pca"}, {"balance", options_.balance ? Json(*options_.balance) : Json()}, {"damping", options_.damping}};
  }

  Spectrum factorize(const SplitLayer& layer, const LayerStats& stats) const override {
    const int64_t free_dims = layer.k_free.size(0);
    at::Tensor moment = project_moment(at::cat({layer.k_free, layer.v}), stats.input.second);  // [P + G*v, P + G*v] of [k; v]
    const double alpha = options_.balance && free_dims > 0 ? ratio(moment, free_dims, layer.rope.dims()) : 1.0;
    moment.narrow(0, 0, free_dims).div_(alpha);
    moment.narrow(1, 0, free_dims).div_(alpha);
    const Eigenpairs pca = damped_pca(moment, options_.damping);

    // Rebuilt per group: alpha k_up_g times the keys' rows of the basis, and the group's value rows of it.
    const at::Tensor keys = layer.k_up.matmul(pca.vectors.narrow(0, 0, free_dims)).mul_(alpha), values = pca.vectors.slice(0, free_dims);
    const at::Tensor up = at::cat({keys.unflatten(0, {layer.groups, layer.nope_dim}), values.unflatten(0, {layer.groups, layer.v_dim})}, 1);
    return {{{pca.vectors.t().matmul(at::cat({layer.k_free / alpha, layer.v})), up.flatten(0, 1), pca.values, true}}};
  }

 private:
  // As the released code: the values' first d_R columns are left out (a copy of the keys' slice).
  double ratio(const at::Tensor& moment, int64_t free_dims, int64_t skipped) const {
    const at::Tensor norms = moment.diagonal().clamp_min(0).sqrt();
    const double keys = norms.narrow(0, 0, free_dims).mean().item<double>(), values = norms.slice(0, free_dims + skipped).mean().item<double>();
    // A half of no energy (constant inputs) leaves rounding noise and no ratio: scaled up it would drown the other half in fp32.
    if (!(keys > kNoise * values) || !(values > kNoise * keys)) return 1.0;
    return keys / (values * *options_.balance);
  }
  BalancedPcaOptions options_;
};

}  // namespace

Eigenpairs damped_pca(const at::Tensor& moment, double damping) {
  return descending_eigenpairs(moment + at::eye(moment.size(0), moment.options()) * (damping * moment.diagonal().mean()));
}

std::unique_ptr<Factorizer> make_balanced_pca(const BalancedPcaOptions& options) { return std::make_unique<BalancedPca>(options); }

}  // namespace mla
