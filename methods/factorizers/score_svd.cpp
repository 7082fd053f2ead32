#include "methods/factorizers/score_svd.h"

#include "core/tensor/decompositions.h"
#include "methods/factorizers/weighted_svd.h"

namespace mla {
namespace {

constexpr double kFloor = 1e-10;  // of the largest eigenvalue of C_K: directions below are treated as if they had it, not dropped

class ScoreSvd : public Factorizer {
 public:
  explicit ScoreSvd(const ScoreSvdOptions& options) : options_(options) {}
  StatKinds needs() const override { return {.input_moments = true}; }
  Json state() const override { return {{"factorizer", "score_svd"}, {"heads_per_part", options_.heads_per_part}}; }

  // The layer is one that rebuilds its keys: all queries are in q_rope, all keys in k_free.
  Spectrum factorize(const SplitLayer& layer, const LayerStats& stats) const override {
    const int64_t share = options_.heads_per_part == 0 ? layer.groups : options_.heads_per_part, h = layer.v_dim;
    std::vector<at::Tensor> rows, keys, queries;
    for (int64_t first = 0; first < layer.groups; first += share) {
      const int64_t count = std::min(share, layer.groups - first);
      rows.push_back(layer.k_free.narrow(0, first * h, count * h));
      keys.push_back(project_moment(rows.back(), stats.input.second));
      queries.push_back(query_moment(layer, stats, first, count));
    }
    Spectrum spectrum;
    for (const ScoreMaps& maps : score_maps(keys, queries)) {
      const auto part = std::ssize(spectrum.parts);
      const at::Tensor& each = rows[spectrum.parts.size()];
      const int64_t kept = std::min(each.size(0), each.size(1));
      spectrum.parts.push_back({maps.down.narrow(0, 0, kept).matmul(each), placed_rows(layer, maps.up.narrow(1, 0, kept), 0, part * share, each.size(0) / h),
                                maps.energies.narrow(0, 0, kept)});
    }
    SplitLayer values = layer;
    values.k_free = layer.k_free.narrow(0, 0, 0);
    values.k_up = layer.k_up.narrow(1, 0, 0);
    const auto whitened = make_weighted_svd({.heads_per_part = options_.heads_per_part});
    for (SpectrumPart& part : whitened->factorize(values, stats).parts) spectrum.parts.push_back(std::move(part));
    return spectrum;
  }

 private:
  // Block diagonal over KV heads: the queries of a group are added up.
  static at::Tensor query_moment(const SplitLayer& layer, const LayerStats& stats, int64_t first, int64_t count) {
    const int64_t h = layer.v_dim, share = layer.heads / layer.groups;
    at::Tensor moment = at::zeros({count * h, count * h}, layer.q_rope.options());
    for (int64_t head = first * share; head < (first + count) * share; ++head) {
      const int64_t at = (head / share - first) * h;
      moment.narrow(0, at, h).narrow(1, at, h).add_(project_moment(layer.q_rope.narrow(0, head * h, h), stats.input.second));
    }
    return moment;
  }
  ScoreSvdOptions options_;
};

}  // namespace

std::vector<ScoreMaps> score_maps(const std::vector<at::Tensor>& keys, const std::vector<at::Tensor>& queries) {
  std::vector<at::Tensor> halves, inverses, scores;
  for (const auto& [values, vectors] : descending_eigenpairs(keys)) {
    const double largest = values.max().item<double>();
    const at::Tensor root = (largest > 0 ? values.clamp_min(largest * kFloor) : at::ones_like(values)).sqrt();
    const at::Tensor half = (vectors * root).matmul(vectors.t());
    inverses.push_back((vectors / root).matmul(vectors.t()));
    const at::Tensor both = half.matmul(queries[halves.size()]).matmul(half);
    scores.push_back((both + both.t()) / 2);
    halves.push_back(half);
  }
  std::vector<ScoreMaps> maps;
  for (const auto& [energies, basis] : descending_eigenpairs(scores)) {
    const at::Tensor &half = halves[maps.size()], &inverse = inverses[maps.size()];
    maps.push_back({basis.t().matmul(inverse), half.matmul(basis), energies.clamp_min(0)});
  }
  return maps;
}

std::unique_ptr<Factorizer> make_score_svd(const ScoreSvdOptions& options) { return std::make_unique<ScoreSvd>(options); }

}  // namespace mla
