#include "core/calibration/stats.h"

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"

namespace mla {
namespace {

// Sums over the unmasked tokens of one layer while its batches pass.
struct Sums {
  int64_t tokens = 0, samples = 0;
  at::Tensor sum, products, query_norms, key_norms;
};

void add_moments(Sums& sums, const at::Tensor& normed, const at::Tensor& mask) {
  const at::Tensor rows = normed.to(at::kCPU).masked_select(mask.unsqueeze(-1)).view({-1, normed.size(2)}).to(at::kDouble);
  const at::Tensor products = rows.t().matmul(rows), sum = rows.sum(0);
  sums.products = sums.products.defined() ? sums.products.add_(products) : products;
  sums.sum = sums.sum.defined() ? sums.sum.add_(sum) : sum;
  sums.tokens += rows.size(0);
}

// Mean over each sample's tokens of the 2-norm of its rotary pairs, summed over samples.  [heads, h/2]
at::Tensor pair_norm_sum(const at::Tensor& normed, const at::Tensor& weight, const at::Tensor& mask, int64_t heads, int64_t head_dim) {
  const at::Tensor rows = at::linear(normed, weight).to(at::kCPU, at::kFloat).view({normed.size(0), normed.size(1), heads, 2, head_dim / 2});
  const at::Tensor norms = rows.square().sum(3).sqrt().to(at::kDouble);  // [B,T,heads,h/2]
  const at::Tensor weights = mask.to(at::kDouble) / mask.sum(1, true).to(at::kDouble);
  return (norms * weights.unsqueeze(-1).unsqueeze(-1)).sum(1).sum(0);
}

void add_pair_norms(Sums& sums, const at::Tensor& normed, const at::Tensor& mask, const GqaWeights& w) {
  const at::Tensor q = pair_norm_sum(normed, w.q, mask, w.heads, w.head_dim), k = pair_norm_sum(normed, w.k, mask, w.kv_heads, w.head_dim);
  sums.query_norms = sums.query_norms.defined() ? sums.query_norms.add_(q) : q;
  sums.key_norms = sums.key_norms.defined() ? sums.key_norms.add_(k) : k;
  sums.samples += normed.size(0);
}

LayerStats finish(const Sums& sums) {
  LayerStats stats;
  if (sums.tokens > 0) {
    const auto n = static_cast<double>(sums.tokens);
    stats.input = {sums.tokens, sums.sum / n, sums.products / n};
  }
  if (sums.samples > 0) stats.pairs = {sums.query_norms / static_cast<double>(sums.samples), sums.key_norms / static_cast<double>(sums.samples)};
  return stats;
}

}  // namespace

StatKinds operator|(const StatKinds& a, const StatKinds& b) {
  return {a.input_moments || b.input_moments, a.pair_norms || b.pair_norms, a.prefix_moments || b.prefix_moments};
}

CalibrationStats collect_stats(const Decoder& model, const CalibrationSamples& samples, const StatKinds& kinds) {
  const auto layers = static_cast<int64_t>(model.layers.size());
  std::vector<at::Tensor> hidden;
  for (const CalibrationBatch& batch : samples.batches) hidden.push_back(model.embed(batch.ids));
  CalibrationStats stats;
  Progress progress("Calibrating", "layers", layers);
  for (int64_t layer = 0; layer < layers; ++layer) {
    Sums sums;
    for (std::size_t b = 0; b < hidden.size(); ++b) {
      throw_if_interrupted();
      const at::Tensor& mask = samples.batches[b].mask;
      const at::Tensor normed = model.attention_input(layer, hidden[b]);
      require_finite(normed, "in calibration at layer " + std::to_string(layer));
      if (kinds.input_moments || kinds.prefix_moments) add_moments(sums, normed, mask);
      if (kinds.pair_norms)
        if (const auto* gqa = std::get_if<GqaWeights>(&model.layers[static_cast<std::size_t>(layer)].attention)) add_pair_norms(sums, normed, mask, *gqa);
      if (layer + 1 < layers) hidden[b] = model.layer_forward(layer, hidden[b], normed);
    }
    stats.push_back(finish(sums));
    progress.advance(layer + 1);
  }
  return stats;
}

at::Tensor project_moment(const at::Tensor& weight, const at::Tensor& second) {
  const at::Tensor w = weight.to(at::kCPU, at::kDouble);
  return w.matmul(second).matmul(w.t());
}

}  // namespace mla
