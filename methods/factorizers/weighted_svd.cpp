#include "methods/factorizers/weighted_svd.h"

#include "core/tensor/decompositions.h"

namespace mla {
namespace {

// Rows to factorise, and the map that takes their reconstruction to kv_b.
struct Piece {
  at::Tensor rows;  // [m, D']
  at::Tensor lift;  // [G*(n+v), m]
};

// Position-free keys of some KV heads. Those of all heads are factorised where the split left them (k_up has orthonormal
// columns or selects rows), which admits fewer directions than the heads have dims.
Piece key_piece(const SplitLayer& layer, int64_t first, int64_t count) {
  const int64_t n = layer.nope_dim;
  if (layer.k_free.size(0) == 0) return {layer.k_free, at::zeros({layer.groups * (n + layer.v_dim), 0}, layer.k_free.options())};
  if (count == layer.groups) return {layer.k_free, placed_rows(layer, layer.k_up, 0, 0, count)};
  return {layer.k_up.narrow(0, first * n, count * n).matmul(layer.k_free), placed_rows(layer, at::eye(count * n, layer.k_free.options()), 0, first, count)};
}

Piece value_piece(const SplitLayer& layer, int64_t first, int64_t count) {
  const int64_t v = layer.v_dim;
  return {layer.v.narrow(0, first * v, count * v), placed_rows(layer, at::eye(count * v, layer.v.options()), layer.nope_dim, first, count)};
}

class WeightedSvd : public Factorizer {
 public:
  explicit WeightedSvd(const WeightedSvdOptions& options) : options_(options) {}
  StatKinds needs() const override { return {.input_moments = options_.metric != SvdMetric::weights || options_.balance}; }
  Json state() const override {
    return {{"factorizer", "weighted_svd"}, {"metric", static_cast<int>(options_.metric)}, {"shrinkage", options_.shrinkage},
            {"parts", static_cast<int>(options_.parts)}, {"heads_per_part", options_.heads_per_part},
            {"balance", options_.balance ? Json(*options_.balance) : Json()}, {"hadamard", options_.hadamard}};
  }

  Spectrum factorize(const SplitLayer& layer, const LayerStats& stats) const override {
    const at::Tensor second = options_.metric == SvdMetric::weights ? at::Tensor() : shrunk(stats.input.second, options_.shrinkage);
    const int64_t share = options_.heads_per_part == 0 ? layer.groups : options_.heads_per_part;
    std::vector<Piece> keys, values, joint;
    for (int64_t first = 0; first < layer.groups; first += share) {
      const int64_t count = std::min(share, layer.groups - first);
      const Piece k = key_piece(layer, first, count), v = value_piece(layer, first, count);
      if (options_.parts == SvdParts::joint) {
        joint.push_back(balanced(k, v, stats));
      } else {
        if (k.rows.size(0) > 0) keys.push_back(k);
        values.push_back(v);
      }
    }
    if (options_.parts == SvdParts::joint) return padded(spectrum_of(joint, second));
    keys.insert(keys.end(), values.begin(), values.end());
    return spectrum_of(keys, second);
  }

 private:
  Spectrum spectrum_of(const std::vector<Piece>& pieces, const at::Tensor& second) const {
    std::vector<at::Tensor> rows;
    for (const Piece& piece : pieces) rows.push_back(piece.rows);
    const std::vector<Directions> found = principal_directions(rows, second, options_.metric);
    Spectrum spectrum;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      SpectrumPart& part = spectrum.parts.emplace_back();
      part.down = found[i].vectors.t().matmul(rows[i]);
      part.up = pieces[i].lift.matmul(found[i].vectors);
      part.energies = found[i].energies;
      part.hadamard = options_.hadamard;
    }
    return spectrum;
  }

  Piece balanced(const Piece& k, const Piece& v, const LayerStats& stats) const {
    double alpha = 1;
    if (options_.balance) {
      const auto mean_norm = [&](const at::Tensor& rows) { return project_moment(rows, stats.input.second).diagonal().sqrt().mean().item<double>(); };
      const double keys = mean_norm(k.rows), values = mean_norm(v.rows);
      if (keys > 0 && values > 0) alpha = keys / (values * *options_.balance);
    }
    return {at::cat({k.rows / alpha, v.rows}), at::cat({k.lift * alpha, v.lift}, 1)};
  }

  // Blocks of unequal size admit unequal ranks: the smaller one gets directions of no energy, so that one rank serves all.
  static Spectrum padded(Spectrum spectrum) {
    int64_t largest = 0;
    for (const SpectrumPart& part : spectrum.parts) largest = std::max(largest, part.down.size(0));
    for (SpectrumPart& part : spectrum.parts) {
      const int64_t missing = largest - part.down.size(0);
      if (missing == 0) continue;
      part.down = at::constant_pad_nd(part.down, {0, 0, 0, missing});
      part.up = at::constant_pad_nd(part.up, {0, missing});
      part.energies = at::constant_pad_nd(part.energies, {0, missing});
    }
    return spectrum;
  }

  WeightedSvdOptions options_;
};

}  // namespace

std::vector<Directions> principal_directions(const std::vector<at::Tensor>& rows, const at::Tensor& second, SvdMetric metric) {
  std::vector<at::Tensor> grams;
  for (const at::Tensor& each : rows) {
    const at::Tensor half = metric == SvdMetric::weights ? each : each.matmul(second);
    const at::Tensor gram = half.matmul(metric == SvdMetric::second_moment ? each.t() : half.t());
    grams.push_back((gram + gram.t()) / 2);
  }
  std::vector<Directions> all;
  for (const Eigenpairs& found : descending_eigenpairs(grams)) {
    const int64_t kept = std::min(rows[all.size()].size(0), rows[all.size()].size(1));
    all.push_back({found.vectors.narrow(1, 0, kept).contiguous(), found.values.narrow(0, 0, kept).clamp_min(0)});
  }
  return all;
}

at::Tensor shrunk(const at::Tensor& second, double a) {
  if (a == 0) return second;
  return second * (1 - a) + at::eye(second.size(0), second.options()) * (a * second.diagonal().mean());
}

at::Tensor placed_rows(const SplitLayer& layer, const at::Tensor& up, int64_t from, int64_t first, int64_t count) {
  const int64_t height = count == 0 ? 0 : up.size(0) / count;
  at::Tensor placed = at::zeros({layer.groups, layer.nope_dim + layer.v_dim, up.size(1)}, up.options());
  placed.narrow(0, first, count).narrow(1, from, height).copy_(up.view({count, height, up.size(1)}));
  return placed.flatten(0, 1);
}

std::unique_ptr<Factorizer> make_weighted_svd(const WeightedSvdOptions& options) { return std::make_unique<WeightedSvd>(options); }

}  // namespace mla
