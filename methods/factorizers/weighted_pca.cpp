#include "methods/factorizers/weighted_pca.h"

#include "core/base/error.h"
#include "core/tensor/decompositions.h"

namespace mla {
namespace {

at::Tensor damped(const at::Tensor& metric, double damping) {
  const at::Tensor mean = metric.diagonal().mean();
  // A half that nothing reads (constant inputs) still needs a root that can be inverted.
  const double floor = mean.item<double>() > 0 ? damping * mean.item<double>() : 1.0;
  return metric + at::eye(metric.size(0), metric.options()) * floor;
}

struct Roots {
  at::Tensor root, inverse;
};
Roots symmetric_roots(const at::Tensor& metric) {
  if (metric.size(0) == 0) return {metric, metric};  // one KV head that keeps RoPE on every dim leaves no position-free keys
  const auto [values, vectors] = at::linalg_eigh(metric);
  const at::Tensor positive = values.clamp_min(values.abs().max().item<double>() * 1e-14 + 1e-300);
  const auto scaled = [&, &basis = vectors](const at::Tensor& diagonal) { return (basis * diagonal).matmul(basis.t()); };
  return {scaled(positive.sqrt()), scaled(positive.rsqrt())};
}

class WeightedPca : public Factorizer {
 public:
  explicit WeightedPca(const WeightedPcaOptions& options) : options_(options) {}
  StatKinds needs() const override { 
    return {.input_moments = true, .gradient_moments = options_.metric == PcaMetric::gradient, .attended_moments = options_.attended > 0};
  }
  Json state() const override {
    return {{"factorizer", "weighted_pca"}, {"metric", static_cast<int>(options_.metric)}, {"attended", options_.attended}, {"damping", options_.damping}};
  }

  Spectrum factorize(const SplitLayer& layer, const LayerStats& stats) const override {
    const int64_t free_dims = layer.k_free.size(0), n = layer.nope_dim, v = layer.v_dim;
    const at::Tensor weights = at::cat({layer.k_free, layer.v});  // [P + G*v, D']
    const at::Tensor moment = project_moment(weights, attention_weighted_second(stats, options_.attended));
    at::Tensor key_metric, value_metric;
    if (options_.metric == PcaMetric::gradient) {
      if (!layer.free_map.defined()) fail<ConfigError>("weighted_pca", "wanted a splitter that maps keys linearly for the gradient metric");
      key_metric = layer.free_map.matmul(stats.gradients.key).matmul(layer.free_map.t());
      value_metric = stats.gradients.value;
    } else {
      const auto scaled = [&](const at::Tensor& metric, int64_t from) {
        const double energy = (metric * moment.narrow(0, from, metric.size(0)).narrow(1, from, metric.size(0))).sum().item<double>();
        return energy > 0 ? metric / energy : metric;
      };
      key_metric = scaled(query_metric(layer, stats), 0);
      value_metric = scaled(output_metric(layer), free_dims);
    }
    const Roots keys = symmetric_roots(damped(key_metric, options_.damping)), values = symmetric_roots(damped(value_metric, options_.damping));
    const at::Tensor root = at::block_diag({keys.root, values.root}), inverse = at::block_diag({keys.inverse, values.inverse});
    const Eigenpairs found = descending_eigenpairs(root.matmul(moment).matmul(root));

    const at::Tensor& basis = found.vectors;
    const at::Tensor whitened = basis.t().matmul(root);  // [R, P + G*v]
    const at::Tensor variance = project_moment(whitened, moment).diagonal();
    // Directions without energy keep their size: there is nothing to scale them by.
    const at::Tensor size = at::where(variance > 1e-12 * variance.max(), variance.sqrt(), at::ones_like(variance)).unsqueeze(1);
    const at::Tensor back = inverse.matmul(basis) * size.t();  // [P + G*v, R]
    at::Tensor up = at::zeros({layer.groups, n + v, back.size(1)}, back.options());
    up.narrow(1, 0, n).copy_(layer.k_up.matmul(back.narrow(0, 0, free_dims)).view({layer.groups, n, -1}));
    up.narrow(1, n, v).copy_(back.slice(0, free_dims).view({layer.groups, v, -1}));
    return {{{(whitened / size).matmul(weights), up.flatten(0, 1), found.values.clamp_min(0), true}}};
  }

 private:
  // sum over heads of k_up_g^T E[q_h q_h^T] k_up_g: the expected squared score error of an error in p.  [P, P]
  static at::Tensor query_metric(const SplitLayer& layer, const LayerStats& stats) {
    const int64_t n = layer.nope_dim, share = layer.heads / layer.groups;
    at::Tensor metric = at::zeros({layer.k_free.size(0), layer.k_free.size(0)}, layer.k_free.options());
    for (int64_t g = 0; g < layer.groups; ++g) {
      at::Tensor moments = at::zeros({n, n}, metric.options());
      for (int64_t head = g * share; head < (g + 1) * share; ++head)
        moments += project_moment(layer.q_nope.narrow(0, head * n, n), stats.input.second);
      const at::Tensor up = layer.k_up.narrow(0, g * n, n);
      metric += up.t().matmul(moments).matmul(up);
    }
    return metric;
  }
  // Block g: sum over its heads of W_O,h^T W_O,h.  [G*v, G*v]
  static at::Tensor output_metric(const SplitLayer& layer) {
    const int64_t v = layer.v_dim, share = layer.heads / layer.groups;
    const at::Tensor o = layer.o.to(at::kDouble);
    at::Tensor metric = at::zeros({layer.groups * v, layer.groups * v}, o.options());
    for (int64_t head = 0; head < layer.heads; ++head) {
      const int64_t from = head / share * v;
      const at::Tensor columns = o.narrow(1, head * v, v);
      metric.narrow(0, from, v).narrow(1, from, v).add_(columns.t().matmul(columns));
    }
    return metric;
  }
  WeightedPcaOptions options_;
};

}  // namespace

std::unique_ptr<Factorizer> make_weighted_pca(const WeightedPcaOptions& options) { return std::make_unique<WeightedPca>(options); }

}  // namespace mla
