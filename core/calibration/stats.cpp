#include "core/calibration/stats.h"

#include <limits>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "core/calibration/moment_sums.h"
#include "core/calibration/stats_stream.h"
#include "core/tensor/products.h"

namespace mla {
namespace {

// Of one layer.
struct Sums {
  MomentSums input, projections, attended;
  int64_t samples = 0;
  at::Tensor query_norms, key_norms;
  at::Tensor latent_scales, query_scales;  // sums over tokens
  int64_t latent_tokens = 0;
  std::vector<at::Tensor> query_rows, key_rows;  // of whole samples
};

const GqaWeights& original_attention(const Decoder& model, int64_t layer) {
  if (const auto* gqa = std::get_if<GqaWeights>(&model.layers[static_cast<std::size_t>(layer)].attention)) return *gqa;
  fail<ConfigError>("calibration", "wanted an original model for these statistics, got one that is converted already at layer ", layer);
}

// Mean over each sample's tokens of the 2-norm of its rotary pairs, summed over samples.  [heads, h/2]
at::Tensor pair_norm_sum(const at::Tensor& projected, const at::Tensor& mask) {  // [B,T,heads,h]
  const at::Tensor rows = projected.to(at::kFloat).unflatten(3, {2, -1});
  const at::Tensor norms = rows.square().sum(3).sqrt().to(at::kDouble);  // [B,T,heads,h/2]
  const at::Tensor weights = mask.to(at::kDouble) / mask.sum(1, true).to(at::kDouble);
  return (norms * weights.unsqueeze(-1).unsqueeze(-1)).sum(1).sum(0);
}

void add_pair_norms(Sums& sums, const GqaProjections& p, const at::Tensor& mask) {
  const at::Tensor q = pair_norm_sum(p.q, mask), k = pair_norm_sum(p.k, mask);
  add_to(sums.query_norms, q);
  add_to(sums.key_norms, k);
  sums.samples += p.q.size(0);
}

// [rms of `latent`, 1/rms of `whole`] summed over the unmasked tokens.
at::Tensor scale_sums(const at::Tensor& latent, const at::Tensor& whole, double eps, const at::Tensor& mask) {
  const auto mean_square = [](const at::Tensor& x) { return x.to(at::kDouble).square().mean(-1); };
  const at::Tensor seen = mask.to(at::kDouble);
  return at::stack({(mean_square(latent).sqrt() * seen).sum(), ((mean_square(whole) + eps).rsqrt() * seen).sum()});
}

void add_latent_scales(Sums& sums, const Decoder& model, int64_t layer, const at::Tensor& normed, const at::Tensor& mask) {
  const auto* mla = std::get_if<MlaWeights>(&model.layers[static_cast<std::size_t>(layer)].attention);
  if (mla == nullptr) fail<ConfigError>("calibration", "wanted a latent to measure, got a layer without one: ", layer);
  const MlaLatents latents = mla_latents(*mla, normed);
  const at::Tensor whole = at::cat({latents.latent, latents.k_rope}, -1);
  const at::Tensor more = scale_sums(latents.latent, whole, model.config.rms_norm_eps, mask);
  add_to(sums.latent_scales, more);
  sums.latent_tokens += mask.sum().item<int64_t>();
  if (!latents.query.defined()) return;
  const at::Tensor query = scale_sums(latents.query, latents.query, model.config.rms_norm_eps, mask);
  add_to(sums.query_scales, query);
}

// Rows of samples without padding, until there are enough.
void keep_rows(Sums& sums, const GqaProjections& p, const at::Tensor& mask) {
  for (int64_t i = 0; i < p.q.size(0) && static_cast<int64_t>(sums.query_rows.size()) < kReservoirSamples; ++i) {
    if (!mask[i].all().item<bool>()) continue;
    const at::Tensor q = p.q[i].to(at::kCPU, at::kFloat), k = p.k[i].to(at::kCPU, at::kFloat);
    if (!sums.query_rows.empty() && sums.query_rows[0].sizes() != q.sizes()) continue;
    sums.query_rows.push_back(q);
    sums.key_rows.push_back(k);
  }
}

// How much each token is attended to: sum over heads and unmasked queries of the squared probability.  [B,T] fp64
at::Tensor attention_received(const GqaWeights& w, const GqaProjections& p, const at::Tensor& mask) {
  const int64_t tokens = p.q.size(1), share = w.heads / w.kv_heads;
  const RopeTable table = rope_table(w.rope, 0, tokens, p.q.device());
  const at::Tensor q = apply_rope(p.q, table).to(at::kFloat), k = apply_rope(p.k, table).to(at::kFloat);
  at::Tensor hidden = at::ones({tokens, tokens}, q.options().dtype(at::kBool)).triu_(1);
  if (w.limits.window > 0) hidden.logical_or_(at::ones_like(hidden).tril_(-w.limits.window));
  at::Tensor received = at::zeros({p.q.size(0), tokens}, q.options().dtype(at::kDouble));
  for (int64_t b = 0; b < p.q.size(0); ++b) {
    const at::Tensor counted = mask[b].to(at::kFloat).view({1, tokens, 1});
    for (int64_t g = 0; g < w.kv_heads; ++g) {  // scores of one group at a time: they are [T,T] each
      const at::Tensor queries = q[b].narrow(1, g * share, share).transpose(0, 1), keys = k[b].select(1, g);
      at::Tensor scores = project(queries, keys) * w.scale;
      if (w.limits.softcap > 0) scores = at::tanh(scores / w.limits.softcap) * w.limits.softcap;
      scores.masked_fill_(hidden, -std::numeric_limits<float>::infinity());
      received[b] += (at::softmax(scores, -1).square_() * counted).sum(at::IntArrayRef{0, 1}).to(at::kDouble);
    }
  }
  return received;
}

// u of a model that is converted already, where its heads are normed before the latent.
void add_normed_projections(Sums& sums, const MlaWeights& w, const at::Tensor& normed, const at::Tensor& mask) {
  if (!w.normed) fail<ConfigError>("calibration", "wanted projections of an original model or of one with q/k norms, got a converted one without");
  sums.projections.add(normed_projections(*w.normed, normed), mask);
}

void add_projections(Sums& sums, const Decoder& model, int64_t layer, const at::Tensor& normed, const at::Tensor& mask, const StatKinds& kinds) {
  const auto* mla = std::get_if<MlaWeights>(&model.layers[static_cast<std::size_t>(layer)].attention);
  if (mla != nullptr && !kinds.pair_norms && !kinds.row_reservoir && !kinds.attended_moments) return add_normed_projections(sums, *mla, normed, mask);
  const GqaWeights& w = original_attention(model, layer);
  const GqaProjections p = gqa_projections(w, normed);
  if (kinds.pair_norms) add_pair_norms(sums, p, mask);
  if (kinds.row_reservoir) keep_rows(sums, p, mask);
  const bool joint = kinds.projection_moments || (kinds.attended_moments && w.norm);
  const at::Tensor all = joint ? at::cat({p.q.flatten(2), p.k.flatten(2), p.v.flatten(2)}, -1) : at::Tensor();
  if (kinds.projection_moments) sums.projections.add(all, mask);
  if (kinds.attended_moments) sums.attended.add_weighted(w.norm ? all : normed, mask, attention_received(w, p, mask));
}

LayerStats finish(const Sums& sums) {
  LayerStats stats;
  stats.input = sums.input.finish();
  stats.projections = sums.projections.finish();
  stats.attended = sums.attended.finish();
  if (sums.samples > 0) stats.pairs = {sums.query_norms / static_cast<double>(sums.samples), sums.key_norms / static_cast<double>(sums.samples)};
  if (sums.latent_tokens > 0) stats.latents.key_value = sums.latent_scales / static_cast<double>(sums.latent_tokens);
  if (sums.query_scales.defined()) stats.latents.query = sums.query_scales / static_cast<double>(sums.latent_tokens);
  if (!sums.query_rows.empty()) stats.rows = {at::stack(sums.query_rows), at::stack(sums.key_rows)};
  return to(stats, at::kCPU);
}

}  // namespace

StatKinds operator|(const StatKinds& a, const StatKinds& b) {
  return {a.input_moments || b.input_moments, a.pair_norms || b.pair_norms, a.prefix_moments || b.prefix_moments,
          a.gradient_moments || b.gradient_moments, a.row_reservoir || b.row_reservoir, a.attended_moments || b.attended_moments,
          a.projection_moments || b.projection_moments, a.latent_scales || b.latent_scales};
}

std::string names_of(const StatKinds& kinds) {
  std::string names;
  for (const auto& [wanted, name] : {std::pair{kinds.input_moments, " input_moments"}, {kinds.pair_norms, " pair_norms"},
                                     {kinds.prefix_moments, " prefix_moments"}, {kinds.gradient_moments, " gradient_moments"},
                                     {kinds.row_reservoir, " row_reservoir"}, {kinds.attended_moments, " attended_moments"}, {kinds.projection_moments, " projection_moments"},
                                     {kinds.latent_scales, " latent_scales"}})
    if (wanted) names += name;
  return names;
}

StatsPass::StatsPass(const Decoder& frame, const CalibrationSamples& samples, const StatKinds& kinds) : kinds_(kinds) {
  for (const CalibrationBatch& batch : samples.batches) {
    hidden_.push_back(frame.embed(batch.ids));
    masks_.push_back(batch.mask.to(frame.device()));
  }
}

LayerStats StatsPass::measure(const Decoder& model, int64_t layer, std::vector<at::Tensor>* behind_attention) {
  const bool last = layer + 1 == static_cast<int64_t>(model.layers.size());
  Sums sums;
  for (std::size_t b = 0; b < hidden_.size(); ++b) {
    throw_if_interrupted();
    const at::Tensor& mask = masks_[b];
    const at::Tensor normed = model.attention_input(layer, hidden_[b]);
    require_finite(normed, "in calibration at layer " + std::to_string(layer));
    if (kinds_.input_moments || kinds_.prefix_moments) sums.input.add(normed, mask);
    if (kinds_.pair_norms || kinds_.row_reservoir || kinds_.projection_moments || kinds_.attended_moments)
      add_projections(sums, model, layer, normed, mask, kinds_);
    if (kinds_.latent_scales) add_latent_scales(sums, model, layer, normed, mask);
    if (behind_attention == nullptr && last) continue;
    hidden_[b] = model.attention_output(layer, normed).add_(hidden_[b]);
    if (behind_attention != nullptr) behind_attention->push_back(hidden_[b]);
    if (!last) hidden_[b] = hidden_[b] + model.mlp(layer, hidden_[b]);
  }
  return finish(sums);
}

CalibrationStats collect_stats(const Decoder& model, const CalibrationSamples& samples, const StatKinds& kinds, ResidualTrace* trace) {
  const auto layers = static_cast<int64_t>(model.layers.size());
  StatsPass pass(model, samples, kinds);
  CalibrationStats stats;
  if (trace != nullptr) trace->assign(model.layers.size(), {});
  Progress progress("Calibrating", "layers", layers);
  for (int64_t layer = 0; layer < layers; ++layer) {
    stats.push_back(pass.measure(model, layer, trace == nullptr ? nullptr : &(*trace)[static_cast<std::size_t>(layer)]));
    progress.advance(layer + 1);
  }
  if (kinds.gradient_moments) {
    std::vector<GradientMoments> gradients = collect_gradients(model, samples);
    for (std::size_t layer = 0; layer < stats.size(); ++layer) stats[layer].gradients = std::move(gradients[layer]);
  }
  return stats;
}

at::Tensor attention_weighted_second(const LayerStats& stats, double share) {
  if (share == 0) return stats.input.second;
  return (stats.input.second + share * stats.attended.second) / (1 + share);
}

at::Tensor project_moment(const at::Tensor& weight, const at::Tensor& second) {
  const at::Tensor w = weight.to(at::kDouble);
  return w.matmul(second).matmul(w.t());
}

}  // namespace mla
