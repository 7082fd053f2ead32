#include "methods/healers/distillation.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <cmath>

#include "core/base/process.h"
#include "methods/healers/output_refit.h"
#include "methods/healers/ridge.h"

namespace mla {
namespace {

// One tensor under training: an fp32 copy of it, and Adam's moments.
struct Trained {
  at::Tensor* target;
  at::Tensor value, first, second;
  double size;  // root mean square at the start
};

std::vector<at::Tensor*> trainable(AttentionWeights& weights, bool output) {
  std::vector<at::Tensor*> tensors;
  if (auto* w = std::get_if<MlaWeights>(&weights)) tensors = {&w->q, &w->q_a, &w->q_b, &w->k_rope, &w->kv_a, &w->kv_b};
  if (auto* w = std::get_if<LowRankKvWeights>(&weights)) tensors = {&w->q, &w->k_a, &w->k_b, &w->v_a, &w->v_b};
  if (output) tensors.push_back(&output_projection(weights));
  std::erase_if(tensors, [](const at::Tensor* t) { return !t->defined() || t->numel() == 0; });
  return tensors;
}

class Distillation : public Healer {
 public:
  explicit Distillation(const DistillationOptions& options) : options_(options) {}

  void heal(const ConversionContext& context) const override {
    const c10::InferenceMode normal(false);
    const at::AutoGradMode graph(true);
    AttentionWeights& attention = context.converted.layers[static_cast<std::size_t>(context.layer)].attention;
    const at::ScalarType dtype = output_projection(attention).scalar_type();
    attention = normal_copy(attention);
    std::vector<Trained> trained;
    for (at::Tensor* tensor : trainable(attention, options_.output)) {
      *tensor = tensor->detach().requires_grad_(true);
      trained.push_back({tensor, *tensor, at::zeros_like(*tensor), at::zeros_like(*tensor), tensor->detach().square().mean().sqrt().item<double>()});
    }
    const std::vector<HealingBatch> pieces = in_pieces(context.batches);
    const std::vector<int64_t> order = step_order(static_cast<int64_t>(pieces.size()), context.layer);
    for (int64_t step = 0; step < options_.steps; ++step) {
      throw_if_interrupted();
      const HealingBatch& piece = pieces[static_cast<std::size_t>(order[static_cast<std::size_t>(step)])];
      loss(context, attention, piece).backward();
      update(trained, step);
    }
    each_attention_tensor(attention, [&](at::Tensor& tensor) {
      if (tensor.defined()) tensor = tensor.detach().to(dtype);
    });
  }

 private:
  // fp32 tensors that may enter a graph, whatever mode the conversion runs in.
  static AttentionWeights normal_copy(const AttentionWeights& weights) {
    AttentionWeights copy = weights;
    each_attention_tensor(copy, [](at::Tensor& tensor) {
      if (tensor.defined()) tensor = at::empty(tensor.sizes(), tensor.options().dtype(at::kFloat)).copy_(tensor);
    });
    return copy;
  }

  at::Tensor loss(const ConversionContext& context, const AttentionWeights& attention, const HealingBatch& batch) const {
    at::Tensor normed, wanted, weights;
    {
      const at::NoGradGuard constant;
      normed = context.converted.attention_input(context.layer, batch.residual).to(at::kFloat);
      wanted = (batch.target - batch.residual).to(at::kFloat);
      weights = token_weights(batch);
      weights = (weights / weights.sum().clamp_min(1e-30)).unsqueeze(-1);
    }
    const at::Tensor difference = context.converted.after_attention(context.layer, attention_forward(attention, normed)) - wanted;
    return (difference.square() * weights).sum();
  }

  void update(std::vector<Trained>& trained, int64_t step) const {
    const at::NoGradGuard no_graph;
    const double progress = static_cast<double>(step) / static_cast<double>(options_.steps), count = static_cast<double>(step + 1);
    const double rate = options_.rate * (1 - progress);
    for (Trained& t : trained) {
      const at::Tensor gradient = t.value.grad();
      t.first.mul_(options_.beta1).add_(gradient, 1 - options_.beta1);
      t.second.mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
      const at::Tensor denominator = (t.second / (1 - std::pow(options_.beta2, count))).sqrt_().add_(1e-12);
      t.value.addcdiv_(t.first, denominator, -rate * t.size / (1 - std::pow(options_.beta1, count)));
      t.value.mutable_grad() = at::Tensor();
    }
  }

  // The batches cut into steps of `samples` samples (fewer where a batch ends).
  std::vector<HealingBatch> in_pieces(const std::vector<HealingBatch>& batches) const {
    std::vector<HealingBatch> pieces;
    for (const HealingBatch& batch : batches)
      for (int64_t first = 0; first < batch.mask.size(0); first += options_.samples) {
        const int64_t count = std::min(options_.samples, batch.mask.size(0) - first);
        pieces.push_back({batch.residual.narrow(0, first, count), batch.target.narrow(0, first, count), batch.mask.narrow(0, first, count)});
      }
    return pieces;
  }

  std::vector<int64_t> step_order(int64_t pieces, int64_t layer) const {
    std::vector<int64_t> order;
    at::Generator generator = at::detail::createCPUGenerator(options_.seed + static_cast<uint64_t>(layer));
    while (static_cast<int64_t>(order.size()) < options_.steps) {
      const at::Tensor permutation = at::randperm(pieces, generator, at::TensorOptions(at::kLong));
      for (int64_t i = 0; i < pieces; ++i) order.push_back(permutation[i].item<int64_t>());
    }
    return order;
  }

  DistillationOptions options_;
};

}  // namespace

std::unique_ptr<Healer> make_distillation(const DistillationOptions& options) { return std::make_unique<Distillation>(options); }

}  // namespace mla
