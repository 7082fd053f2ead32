#include "methods/healing.h"

#include <algorithm>

#include "core/base/process.h"
#include "core/base/progress.h"

namespace mla {

HealingPass::HealingPass(const Decoder& frame, const CalibrationSamples& samples, ResidualTrace trace) : trace_(std::move(trace)) {
  for (const CalibrationBatch& batch : samples.batches) {
    const at::Tensor embedded = frame.embed(batch.ids);
    batches_.push_back({embedded, embedded, batch.mask});
  }
}

// The original's attention of `layer`: targets are ready.
void HealingPass::enter(const Decoder& original, int64_t layer) {
  for (std::size_t b = 0; b < batches_.size(); ++b) {
    at::Tensor& target = batches_[b].target;
    if (!trace_.empty()) {
      target = std::move(trace_.at(static_cast<std::size_t>(layer)).at(b));
      continue;
    }
    throw_if_interrupted();
    target = target + original.attention_output(layer, original.attention_input(layer, target));
  }
}

// Both streams behind the layer's attention, and with `mlp_targets` the original's behind its MLP.
void HealingPass::pass_attention(const Decoder& original, const Decoder& converted, int64_t layer, bool mlp_targets) {
  for (HealingBatch& batch : batches_) {
    throw_if_interrupted();
    if (mlp_targets) batch.target = batch.target + original.mlp(layer, batch.target);
    batch.residual = converted.attention_output(layer, converted.attention_input(layer, batch.residual)).add_(batch.residual);
  }
}

void HealingPass::pass_mlp(const Decoder& converted, int64_t layer) {
  for (HealingBatch& batch : batches_) {
    throw_if_interrupted();
    batch.residual.add_(converted.mlp(layer, batch.residual));
    require_finite(batch.residual, "in healing after layer " + std::to_string(layer));
  }
}

void HealingPass::heal(const Decoder& original, Decoder& converted, int64_t layer, const Healers& healers, const LayerStats& stats) {
  const ConversionContext context{original, converted, layer, batches_, stats};
  const auto run = [&](LayerPart part) {
    for (const auto& healer : healers)
      if (healer->part() == part) healer->heal(context);
  };
  const bool last = layer + 1 == static_cast<int64_t>(original.layers.size());
  const bool heals_mlp = std::any_of(healers.begin(), healers.end(), [](const auto& healer) { return healer->part() == LayerPart::mlp; });
  enter(original, layer);
  run(LayerPart::attention);
  if (last && !heals_mlp) return;
  pass_attention(original, converted, layer, heals_mlp || trace_.empty());
  run(LayerPart::mlp);
  if (!last) pass_mlp(converted, layer);
}

Healing heal(const Decoder& original, Decoder& converted, const Healers& healers, const CalibrationSamples& samples, const CalibrationStats& stats,
             ResidualTrace trace) {
  const Stopwatch watch;
  HealingPass pass(original, samples, std::move(trace));
  const auto layers = static_cast<int64_t>(original.layers.size());
  Progress progress("Healing", "layers", layers);
  for (int64_t layer = 0; layer < layers; ++layer) {
    pass.heal(original, converted, layer, healers, stats[static_cast<std::size_t>(layer)]);
    progress.advance(layer + 1);
  }
  return {watch.seconds(), watch.cpu(), samples.tokens()};
}

}  // namespace mla
