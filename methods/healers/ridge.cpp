#include "methods/healers/ridge.h"

#include "core/model/cpu_kernels.h"

namespace mla {
namespace {

constexpr double kLeastGain = 1e-3;  // of a norm's weights, relative to their rms: below it a row of the output carries nothing
constexpr double kMassive = 50;  // a token's mean square over the original's median, from which on it counts as massive

}  // namespace

void RidgeSystem::add(const at::Tensor& values, const at::Tensor& wanted, const at::Tensor& weights) {
  const at::Tensor weighted = values * weights.unsqueeze(1);
  products_ += product(weighted.t(), values).to(at::kDouble);
  cross_ += product(wanted.t(), weighted).to(at::kDouble);
}

void RidgeSystem::solve(double ridge, at::Tensor& weight) const {
  const double lambda = ridge * products_.diagonal().mean().item<double>();
  if (!(lambda > 0)) return;  // values that are all zero leave nothing to fit
  const at::Tensor system = products_ + lambda * at::eye(products_.size(0), products_.options());
  const at::Tensor right = cross_ + lambda * weight.to(at::kDouble);
  const at::Tensor fitted = at::cholesky_solve(right.t(), at::linalg_cholesky(system)).t();
  weight = fitted.to(weight.scalar_type()).contiguous();
}

at::Tensor token_weights(const HealingBatch& batch, const at::Tensor& added) {
  const at::Tensor inside = batch.mask.to(batch.target.device());
  const at::Tensor converted = batch.residual.to(at::kFloat), stream = added.defined() ? converted + added.view_as(converted) : converted;
  const at::Tensor wanted = batch.target.to(at::kFloat).square().mean(-1), found = stream.square().mean(-1);
  if (!inside.any().item<bool>()) return at::zeros_like(wanted);
  const at::Tensor massive = found > kMassive * wanted.masked_select(inside).median();
  return at::where(massive, at::maximum(wanted, found), wanted).clamp_min(1e-12).reciprocal() * inside.to(at::kFloat);
}

at::Tensor output_now(const OutputProjection& projection, const at::Tensor& values) {
  return project(values, projection.weight.to(at::kFloat), projection.bias.defined() ? projection.bias.to(at::kFloat) : projection.bias);
}

at::Tensor wanted_output(const OutputProjection& projection, const HealingBatch& batch, const at::Tensor& values) {
  at::Tensor wanted = (batch.target - batch.residual).flatten(0, 1).to(at::kFloat);
  if (projection.norm.defined()) {
    const at::Tensor now = output_now(projection, values.to(at::kFloat));
    const at::Tensor weight = projection.norm.to(at::kFloat), least = kLeastGain * weight.square().mean().sqrt();
    const at::Tensor gain = at::where(weight.abs() < least, at::copysign(least.expand_as(weight), weight), weight);
    wanted = wanted / gain * now.square().mean(-1, true).sqrt();
  }
  return projection.bias.defined() ? wanted - projection.bias.to(at::kFloat) : wanted;
}

}  // namespace mla
