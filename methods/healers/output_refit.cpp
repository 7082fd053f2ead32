#include "methods/healers/output_refit.h"

#include "core/model/cpu_kernels.h"

namespace mla {
namespace {

constexpr double kLeastGain = 1e-3;  // of a post-norm's weights, relative to their rms: below it a row of the output carries nothing
constexpr double kMassive = 50;  // a token's mean square over the original's median, from which on it counts as massive

class OutputRefit : public Healer {
 public:
  explicit OutputRefit(const OutputRefitOptions& options) : options_(options) {}

  void heal(const ConversionContext& context) const override {
    AttentionWeights& attention = context.converted.layers[static_cast<std::size_t>(context.layer)].attention;
    at::Tensor& o = output_projection(attention);
    at::Tensor products = at::zeros({o.size(1), o.size(1)}, o.options().dtype(at::kDouble)), cross = at::zeros({o.size(0), o.size(1)}, products.options());
    for (const HealingBatch& batch : context.batches) {
      const at::Tensor normed = context.converted.attention_input(context.layer, batch.residual);
      const at::Tensor weights = token_weights(batch).flatten().unsqueeze(1);
      const at::Tensor heads = attention_heads(attention, normed).flatten(0, 1).to(at::kFloat);
      const at::Tensor wanted = wanted_output(context, batch, heads).to(at::kFloat);
      const at::Tensor weighted = heads * weights;
      products += product(weighted.t(), heads).to(at::kDouble);
      cross += product(wanted.t(), weighted).to(at::kDouble);
    }
    const double ridge = options_.ridge * products.diagonal().mean().item<double>();
    if (!(ridge > 0)) return;  // heads that mix nothing leave nothing to fit
    const at::Tensor system = products + ridge * at::eye(products.size(0), products.options());
    const at::Tensor right = cross + ridge * o.to(at::kDouble);
    const at::Tensor fitted = at::cholesky_solve(right.t(), at::linalg_cholesky(system)).t();
    o = fitted.to(o.scalar_type()).contiguous();
  }

 private:
  OutputRefitOptions options_;
};

}  // namespace

at::Tensor wanted_output(const ConversionContext& context, const HealingBatch& batch, const at::Tensor& heads) {
  DecoderLayer& layer = context.converted.layers[static_cast<std::size_t>(context.layer)];
  at::Tensor wanted = (batch.target - batch.residual).flatten(0, 1);
  const at::Tensor& bias = output_bias(layer.attention);
  if (const at::Tensor& norm = layer.attention_post_norm; norm.defined()) {
    const at::Tensor now = project(heads.to(at::kFloat), output_projection(layer.attention).to(at::kFloat), bias.defined() ? bias.to(at::kFloat) : bias);
    const at::Tensor weight = norm.to(at::kFloat), least = kLeastGain * weight.square().mean().sqrt();
    const at::Tensor gain = at::where(weight.abs() < least, at::copysign(least.expand_as(weight), weight), weight);
    wanted = wanted.to(at::kFloat) / gain * now.square().mean(-1, true).sqrt();
  }
  return bias.defined() ? wanted - bias : wanted;
}

at::Tensor token_weights(const HealingBatch& batch) {
  const at::Tensor inside = batch.mask.to(batch.target.device());
  const at::Tensor wanted = batch.target.to(at::kFloat).square().mean(-1), found = batch.residual.to(at::kFloat).square().mean(-1);
  if (!inside.any().item<bool>()) return at::zeros_like(wanted);
  const at::Tensor massive = found > kMassive * wanted.masked_select(inside).median();
  return at::where(massive, at::maximum(wanted, found), wanted).clamp_min(1e-12).reciprocal() * inside.to(at::kFloat);
}

at::Tensor& output_projection(AttentionWeights& weights) {
  return std::visit([](auto& form) -> at::Tensor& { return form.o; }, weights);
}

at::Tensor& output_bias(AttentionWeights& weights) {
  return std::visit([](auto& form) -> at::Tensor& { return form.o_bias; }, weights);
}

std::unique_ptr<Healer> make_output_refit(const OutputRefitOptions& options) { return std::make_unique<OutputRefit>(options); }

}  // namespace mla
