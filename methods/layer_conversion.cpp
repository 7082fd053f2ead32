#include "methods/layer_conversion.h"

#include <cmath>

#include "core/base/error.h"
#include "methods/factorizers/balanced_pca.h"
#include "methods/factorizers/hadamard.h"
#include "methods/spectrum_cache.h"

namespace mla {
namespace {

// Queries per head [n; d_R] from the split's own rows.  [H*(n+d_R), D]
at::Tensor joined_queries(const SplitLayer& split) {
  const at::Tensor nope = split.q_nope.view({split.heads, split.nope_dim, split.q_nope.size(1)});
  return at::cat({nope, split.q_rope.view({split.heads, split.rope.dims(), nope.size(2)})}, 1).flatten(0, 1);
}

// q_lora_rank: PCA of the original queries (TransMLA's lora_qkv) or SVD of their weights, the split's maps behind it.
void compress_queries(MlaWeights& weights, const LinearLayer& linear, const SplitLayer& split, const LayerStats& stats, const Recipe& recipe,
                      at::ScalarType dtype) {
  if (!split.q_basis.defined()) fail<ConfigError>("convert", "wanted no q_lora_rank: this splitter does not offer one");
  const at::Tensor moment = recipe.query_basis == QueryBasis::weights ? split.q_source.matmul(split.q_source.t())
                                                                      : project_moment(split.q_source, stats.input.second);
  const at::Tensor basis = damped_pca(moment, 0.01).vectors.narrow(1, 0, *recipe.q_lora_rank);
  const Affine low = affine(linear, basis.t().matmul(split.q_source), Reads::queries, dtype);
  weights.q = at::Tensor();  // its bias stays whole, behind q_b
  weights.q_a = low.weight;
  weights.q_b = at::bmm(split.q_basis, basis.view({split.heads, -1, *recipe.q_lora_rank})).flatten(0, 1).to(dtype).contiguous();
}

void fold_scale(MlaWeights& weights) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(weights.nope_dim + weights.rope.dims())), factor = weights.scale / scale;
  for (at::Tensor* rows : {&weights.q, &weights.q_b, &weights.q_bias})
    if (rows->defined()) *rows = *rows * factor;
  weights.scale = scale;
}

// [down rows, up columns] of parts first .. last-1, each cut at its rank, where `like` is.
struct Cut {
  at::Tensor down, up;
};
Cut cut(const Spectrum& spectrum, const LayerRanks& ranks, std::size_t first, std::size_t last, const at::Tensor& like) {
  std::vector<at::Tensor> down, up;
  for (std::size_t i = first; i < last; ++i) {
    const SpectrumPart& part = spectrum.parts[i];
    const int64_t kept = part.compressed ? ranks.at(i) : part.down.size(0);
    const at::Tensor mix = part.hadamard ? hadamard_matrix(kept).to(part.down.device()) : at::Tensor();
    down.push_back(mix.defined() ? mix.matmul(part.down.narrow(0, 0, kept)) : part.down.narrow(0, 0, kept));
    up.push_back(mix.defined() ? part.up.narrow(1, 0, kept).matmul(mix.t()) : part.up.narrow(1, 0, kept));
  }
  return {at::cat(down).to(like.device()), at::cat(up, 1).to(like.device())};
}

// Everything of a layer but its latent: the same whatever the ranks.
MlaWeights around_latent(const LinearLayer& linear, const SplitLayer& split, at::ScalarType dtype) {
  const Affine q = affine(linear, joined_queries(split), Reads::queries, dtype), k_rope = affine(linear, split.k_rope, Reads::keys_and_values, dtype);
  MlaWeights w;
  w.q = q.weight, w.q_bias = q.bias;
  w.k_rope = k_rope.weight, w.k_rope_bias = k_rope.bias;
  w.o = split.o, w.o_bias = linear.o_bias;
  w.normed = linear.normed;
  w.rope = split.rope;
  w.heads = split.heads;
  w.groups = split.groups;
  w.nope_dim = split.nope_dim;
  w.v_dim = split.v_dim;
  w.scale = split.scale;
  w.limits = linear.weights.limits;
  return w;
}

// kv_b of each KV head repeated for the query heads that read it.
void repeat_per_head(MlaWeights& w) {
  w.kv_b = w.kv_b.unflatten(0, {w.groups, -1}).repeat_interleave(w.heads / w.groups, 0).flatten(0, 1).contiguous();
  w.groups = w.heads;
}

LowRankKvWeights around_rebuilt(const LinearLayer& linear, const SplitLayer& split, at::ScalarType dtype) {
  const Affine q = affine(linear, split.q_rope, Reads::queries, dtype);
  LowRankKvWeights w;
  w.q = q.weight, w.q_bias = q.bias;
  w.o = split.o, w.o_bias = linear.o_bias;
  w.norm = linear.norm;
  w.rope = split.rope;
  w.heads = split.heads;
  w.kv_heads = split.groups;
  w.head_dim = split.v_dim;
  w.scale = split.scale;
  w.limits = linear.weights.limits;
  return w;
}

void set_latent(MlaWeights& w, const LinearLayer& linear, const Spectrum& spectrum, const LayerRanks& ranks, at::ScalarType dtype) {
  const Cut latent = cut(spectrum, ranks, 0, spectrum.parts.size(), w.o);
  const Affine kv_a = affine(linear, latent.down, Reads::keys_and_values, dtype);
  w.kv_a = kv_a.weight, w.kv_a_bias = kv_a.bias;
  w.kv_b = latent.up.to(dtype).contiguous();
}

// Parts whose up-projection reaches keys make k_a and k_b, the others v_a and v_b. Ours have h keys and h values per group.
void set_latent(LowRankKvWeights& w, const LinearLayer& linear, const Spectrum& spectrum, const LayerRanks& ranks, at::ScalarType dtype) {
  const int64_t h = w.head_dim;
  std::size_t keys = 0;
  const auto rows = [&](const at::Tensor& up, int64_t from) { return up.view({w.kv_heads, 2 * h, up.size(1)}).narrow(1, from, h).flatten(0, 1); };
  while (keys < spectrum.parts.size() && rows(spectrum.parts[keys].up, h).abs().max().item<double>() == 0) ++keys;
  const Cut k = cut(spectrum, ranks, 0, keys, w.o), v = cut(spectrum, ranks, keys, spectrum.parts.size(), w.o);
  const Affine k_a = affine(linear, k.down, Reads::keys_and_values, dtype), v_a = affine(linear, v.down, Reads::keys_and_values, dtype);
  w.k_a = k_a.weight, w.k_a_bias = k_a.bias;
  w.v_a = v_a.weight, w.v_a_bias = v_a.bias;
  w.k_b = rows(k.up, 0).to(dtype).contiguous();
  w.v_b = rows(v.up, h).to(dtype).contiguous();
}

AttentionWeights around(const LinearLayer& linear, const SplitLayer& split, CacheForm form, at::ScalarType dtype) {
  if (form == CacheForm::rebuilt) return around_rebuilt(linear, split, dtype);
  return around_latent(linear, split, dtype);
}

void set_latent(AttentionWeights& weights, const LinearLayer& linear, const Spectrum& spectrum, const LayerRanks& ranks, at::ScalarType dtype) {
  if (auto* latent = std::get_if<MlaWeights>(&weights)) set_latent(*latent, linear, spectrum, ranks, dtype);
  else set_latent(std::get<LowRankKvWeights>(weights), linear, spectrum, ranks, dtype);
}

std::string form_text(const Recipe& recipe) {
  return names_of(recipe.needs()) + (recipe.form == CacheForm::latent ? " latent" : " rebuilt") + (recipe.free_biases ? " free_biases" : "");
}

// What determines a layer's decomposition beside the code.
std::string spectrum_key(const std::string& model_and_samples, const Recipe& recipe, int64_t layer) {
  return model_and_samples + '\n' + recipe.splitter->state().dump() + '\n' + recipe.factorizer->state().dump() + form_text(recipe) + " layer " + std::to_string(layer);
}

// Where it waits for its ranks: in fp64 those of all layers are larger than the model.
Spectrum on_host(Spectrum spectrum) {
  for (SpectrumPart& part : spectrum.parts)
    for (at::Tensor* tensor : {&part.down, &part.up, &part.energies}) *tensor = tensor->cpu();
  return spectrum;
}

// A position-free key's bias adds the same to every score of a query, which a softmax does not see; a value's adds W_O b to the output.
void free_biases(Split& split) {
  SplitLayer& layer = split.layer;
  const int64_t last = layer.v.size(1) - 1, repeats = layer.heads / layer.groups * layer.value_share;
  const at::Tensor per_head = layer.v.select(1, last).view({-1, layer.v_dim}).repeat_interleave(repeats, 0).flatten();
  const at::Tensor moved = layer.o.to(at::kDouble).mv(per_head);
  at::Tensor& o_bias = split.linear.o_bias;
  o_bias = ((o_bias.defined() ? o_bias.to(at::kDouble) : at::zeros_like(moved)) + moved).to(layer.o.scalar_type());
  layer.v = layer.v.clone(), layer.k_free = layer.k_free.clone();
  layer.v.select(1, last).zero_();
  layer.k_free.select(1, last).zero_();
}

}  // namespace

const GqaWeights& gqa_of(const AttentionWeights& attention, int64_t layer) {
  if (const auto* gqa = std::get_if<GqaWeights>(&attention)) return *gqa;
  fail<ConfigError>("convert", "wanted an original model with grouped-query attention, got one whose layer ", layer,
                    " has low-rank or latent attention already (it is converted already, or a DeepSeek)");
}

std::string partial_rope_key(const Recipe& recipe) { return "partial RoPE 1\n" + recipe.splitter->state().dump() + form_text(recipe); }

int64_t Spectrum::full_rank() const {
  int64_t rank = 0;
  for (const SpectrumPart& part : parts)
    if (part.compressed) rank = rank == 0 ? part.down.size(0) : std::min(rank, part.down.size(0));
  return rank;
}

Spectrum identity_spectrum(const SplitLayer& split) {
  const int64_t n = split.nope_dim, v = split.v_dim, free_dims = split.k_free.size(0), width = free_dims + split.v.size(0);
  const at::TensorOptions options = split.v.options();
  at::Tensor up = at::zeros({split.groups, n + v, width}, options);
  for (int64_t g = 0; g < split.groups; ++g) {
    up[g].narrow(0, 0, n).narrow(1, 0, free_dims).copy_(split.k_up.narrow(0, g * n, n));
    up[g].narrow(0, n, v).narrow(1, free_dims + g / split.value_share * v, v).copy_(at::eye(v, options));
  }
  return {{{at::cat({split.k_free, split.v}), up.flatten(0, 1), at::ones({width}, options), false}}};
}

AttentionWeights assemble(const LinearLayer& linear, const SplitLayer& split, const Spectrum& spectrum, const LayerRanks& ranks,
                          CacheForm form, at::ScalarType dtype) {
  AttentionWeights weights = around(linear, split, form, dtype);
  set_latent(weights, linear, spectrum, ranks, dtype);
  return weights;
}

LayerConversion::LayerConversion(const Recipe& recipe, const GqaWeights& like, at::ScalarType dtype, std::string spectra_key)
    : recipe_(recipe), dtype_(dtype), spectra_key_(std::move(spectra_key)) {
  if (recipe.search) fail<ConfigError>("convert", "wanted options without auto for ", recipe.label, "; run its search first, or give numbers");
  StatKinds first = recipe.needs();
  first.prefix_moments = false;
  first_ = kinds_for(like, recipe.form, first);
  if (recipe.factorizer->needs().prefix_moments) second_ = kinds_for(like, recipe.form, {.prefix_moments = true});
}

std::string LayerConversion::second_state() const { return "partial_rope " + recipe_.splitter->state().dump(); }

Split LayerConversion::split(const GqaWeights& layer, const LayerStats& stats) const {
  LinearLayer linear = linear_layer(layer, stats, recipe_.form);
  SplitLayer split = recipe_.splitter->split(linear.weights, linear.stats);
  Split both{std::move(linear), std::move(split)};
  if (recipe_.free_biases && both.linear.biased) free_biases(both);
  return both;
}

AttentionWeights LayerConversion::around_latent(const Split& split) const { return around(split.linear, split.layer, recipe_.form, dtype_); }

AttentionWeights LayerConversion::partial_rope(const Split& split, AttentionWeights around) const {
  set_latent(around, split.linear, identity_spectrum(split.layer), {0}, dtype_);
  return around;
}

HalfConverted LayerConversion::decompose(const GqaWeights& layer, int64_t index, Split split, const SeenStats& seen, AttentionWeights around) const {
  LayerStats stats = split.linear.stats;
  if (seen.second != nullptr) {
    LayerStats mixed = seen.first;
    mixed.input = seen.second->input;
    mixed.projections = seen.second->projections;
    stats = linear_layer(layer, mixed, recipe_.form).stats;
  }
  const auto factorize = [&] { return on_host(recipe_.factorizer->factorize(split.layer, stats)); };
  Spectrum spectrum = spectra_key_.empty() ? factorize() : cached_spectrum(spectrum_key(spectra_key_, recipe_, index), split.layer, factorize);
  spectrum.groups = split.layer.groups;
  spectrum.v_dim = split.layer.v_dim;
  if (recipe_.q_lora_rank) compress_queries(std::get<MlaWeights>(around), split.linear, split.layer, stats, recipe_, dtype_);
  if (recipe_.fold_scale) fold_scale(std::get<MlaWeights>(around));
  split.linear.weights = {};
  split.linear.stats = {};
  return {std::move(split.linear), std::move(around), std::move(spectrum)};
}

AttentionWeights LayerConversion::finish(HalfConverted half, const LayerRanks& ranks, int64_t index) const {
  AttentionWeights& weights = half.weights;
  set_latent(weights, half.linear, half.spectrum, ranks, dtype_);
  if (recipe_.per_head_up) repeat_per_head(std::get<MlaWeights>(weights));
  for (const auto& [name, tensor] : named_tensors(weights)) require_finite(tensor, "in " + name + " of the converted layer " + std::to_string(index));
  return std::move(weights);
}

}  // namespace mla
