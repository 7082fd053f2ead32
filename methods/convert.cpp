#include "methods/convert.h"

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "methods/factorizers/balanced_pca.h"

namespace mla {
namespace {

const GqaWeights& gqa_of(const Decoder& decoder, std::size_t layer) {
  if (const auto* gqa = std::get_if<GqaWeights>(&decoder.layers[layer].attention)) return *gqa;
  fail<ConfigError>("convert", "wanted an original model with grouped-query attention, got one that is converted already at layer ", layer);
}

// Queries per head [n; d_R] from the split's own rows.  [H*(n+d_R), D]
at::Tensor joined_queries(const SplitLayer& split) {
  const at::Tensor nope = split.q_nope.view({split.heads, split.nope_dim, split.q_nope.size(1)});
  return at::cat({nope, split.q_rope.view({split.heads, split.rope.dims(), nope.size(2)})}, 1).flatten(0, 1);
}

// q_lora_rank: PCA of the original queries (TransMLA's lora_qkv), the split's maps behind it.
void compress_queries(MlaWeights& weights, const SplitLayer& split, const LayerStats& stats, int64_t rank, at::ScalarType dtype) {
  if (!split.q_basis.defined()) fail<ConfigError>("convert", "wanted no q_lora_rank: this splitter does not offer one");
  const at::Tensor basis = damped_pca(project_moment(split.q_source, stats.input.second), 0.01).vectors.narrow(1, 0, rank);
  weights.q = at::Tensor();
  weights.q_a = basis.t().matmul(split.q_source).to(dtype).contiguous();
  weights.q_b = split.q_basis.matmul(basis).to(dtype).contiguous();
}

}  // namespace

int64_t Spectrum::full_rank() const {
  int64_t rank = 0;
  for (const SpectrumPart& part : parts)
    if (part.compressed) rank = rank == 0 ? part.down.size(0) : std::min(rank, part.down.size(0));
  return rank;
}

Spectrum identity_spectrum(const SplitLayer& split) {
  const int64_t n = split.nope_dim, v = split.v_dim, free_dims = split.k_free.size(0), width = free_dims + split.v.size(0);
  at::Tensor up = at::zeros({split.groups, n + v, width}, at::kDouble);
  for (int64_t g = 0; g < split.groups; ++g) {
    up[g].narrow(0, 0, n).narrow(1, 0, free_dims).copy_(split.k_up.narrow(0, g * n, n));
    up[g].narrow(0, n, v).narrow(1, free_dims + g * v, v).copy_(at::eye(v, at::kDouble));
  }
  return {{{at::cat({split.k_free, split.v}), up.flatten(0, 1), at::ones({width}, at::kDouble), false}}};
}

MlaWeights assemble(const SplitLayer& split, const Spectrum& spectrum, int64_t rank, at::ScalarType dtype) {
  std::vector<at::Tensor> down, up;
  for (const SpectrumPart& part : spectrum.parts) {
    const int64_t kept = part.compressed ? rank : part.down.size(0);
    down.push_back(part.down.narrow(0, 0, kept));
    up.push_back(part.up.narrow(1, 0, kept));
  }
  const auto cast = [&](const at::Tensor& t) { return t.to(dtype).contiguous(); };
  MlaWeights w;
  w.q = cast(joined_queries(split));
  w.k_rope = cast(split.k_rope);
  w.kv_a = cast(at::cat(down));
  w.kv_b = cast(at::cat(up, 1));
  w.o = split.o;
  w.rope = split.rope;
  w.heads = split.heads;
  w.groups = split.groups;
  w.nope_dim = split.nope_dim;
  w.v_dim = split.v_dim;
  w.scale = split.scale;
  return w;
}

Conversion convert(const Decoder& original, const Recipe& recipe, const CollectStats& collect) {
  const std::size_t layers = original.layers.size();
  const at::ScalarType dtype = original.dtype();
  const StatKinds first{.input_moments = recipe.splitter->needs().input_moments || recipe.factorizer->needs().input_moments,
                        .pair_norms = recipe.needs().pair_norms};
  CalibrationStats stats(layers);  // of the original model
  if (first.input_moments || first.pair_norms) stats = collect(original, first, "original");

  // Splits are made again where they are needed: in fp64 they are larger than the model, and cheap.
  const auto split_of = [&](std::size_t layer) {
    throw_if_interrupted();
    return recipe.splitter->split(gqa_of(original, layer), stats[layer]);
  };
  Conversion result;
  result.partial_rope = original;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const SplitLayer split = split_of(layer);
    result.partial_rope->layers[layer].attention = assemble(split, identity_spectrum(split), 0, dtype);
  }
  CalibrationStats second_pass;
  if (recipe.factorizer->needs().prefix_moments)
    second_pass = collect(*result.partial_rope, {.prefix_moments = true}, "partial_rope " + recipe.splitter->state().dump());
  const CalibrationStats& factor_stats = second_pass.empty() ? stats : second_pass;

  std::vector<Spectrum> spectra;
  Progress progress("Converting", "layers", static_cast<int64_t>(layers));
  for (std::size_t layer = 0; layer < layers; ++layer) {
    spectra.push_back(recipe.factorizer->factorize(split_of(layer), factor_stats[layer]));
    progress.advance(static_cast<int64_t>(layer) + 1);
  }
  result.ranks = recipe.allocator->allocate(spectra);
  result.converted = original;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const SplitLayer split = split_of(layer);
    MlaWeights weights = assemble(split, spectra[layer], result.ranks[layer], dtype);
    if (recipe.q_lora_rank) compress_queries(weights, split, factor_stats[layer], *recipe.q_lora_rank, dtype);
    for (const at::Tensor* t : {&weights.kv_a, &weights.kv_b, &weights.k_rope}) require_finite(*t, "in the converted layer " + std::to_string(layer));
    result.converted.layers[layer].attention = AttentionWeights(weights);
    spectra[layer] = {};
    if (recipe.healer) recipe.healer->heal({original, result.converted}, static_cast<int64_t>(layer));
  }
  if (!original.device().is_cpu())
    for (Decoder* model : {&*result.partial_rope, &result.converted})
      for (DecoderLayer& layer : model->layers) layer.attention = to(layer.attention, original.device(), dtype);
  return result;
}

}  // namespace mla
