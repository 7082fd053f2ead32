#include "methods/factorizers/weighted_svd.h"

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
  if (layer.k_free.size(0) == 0) return {layer.k_free, at::zeros({layer.groups * (n + layer.v_dim), 0}, at::kDouble)};
  if (count == layer.groups) return {layer.k_free, placed_rows(layer, layer.k_up, 0, 0, count)};
  return {layer.k_up.narrow(0, first * n, count * n).matmul(layer.k_free), placed_rows(layer, at::eye(count * n, at::kDouble), 0, first, count)};
}

Piece value_piece(const SplitLayer& layer, int64_t first, int64_t count) {
  const int64_t v = layer.v_dim;
  return {layer.v.narrow(0, first * v, count * v), placed_rows(layer, at::eye(count * v, at::kDouble), layer.nope_dim, first, count)};
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
    Spectrum keys, values, joint;
    for (int64_t first = 0; first < layer.groups; first += share) {
      const int64_t count = std::min(share, layer.groups - first);
      const Piece k = key_piece(layer, first, count), v = value_piece(layer, first, count);
      if (options_.parts == SvdParts::joint) {
        joint.parts.push_back(part_of(balanced(k, v, stats), second));
      } else {
        if (k.rows.size(0) > 0) keys.parts.push_back(part_of(k, second));
        values.parts.push_back(part_of(v, second));
      }
    }
    if (options_.parts == SvdParts::joint) return padded(joint);
    keys.parts.insert(keys.parts.end(), values.parts.begin(), values.parts.end());
    return keys;
  }

 private:
  SpectrumPart part_of(const Piece& piece, const at::Tensor& second) const {
    const Directions found = principal_directions(piece.rows, second, options_.metric);
    SpectrumPart part{found.vectors.t().matmul(piece.rows), piece.lift.matmul(found.vectors), found.energies};
    part.hadamard = options_.hadamard;
    return part;
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

Directions principal_directions(const at::Tensor& rows, const at::Tensor& second, SvdMetric metric) {
  const at::Tensor half = metric == SvdMetric::weights ? rows : rows.matmul(second);
  const at::Tensor gram = half.matmul(metric == SvdMetric::second_moment ? rows.t() : half.t());
  const auto [values, vectors] = at::linalg_eigh((gram + gram.t()) / 2);
  const int64_t kept = std::min(rows.size(0), rows.size(1));
  return {vectors.flip(1).narrow(1, 0, kept).contiguous(), values.flip(0).narrow(0, 0, kept).clamp_min(0)};
}

at::Tensor shrunk(const at::Tensor& second, double a) {
  if (a == 0) return second;
  return second * (1 - a) + at::eye(second.size(0), at::kDouble) * (a * second.diagonal().mean());
}

at::Tensor placed_rows(const SplitLayer& layer, const at::Tensor& up, int64_t from, int64_t first, int64_t count) {
  const int64_t height = count == 0 ? 0 : up.size(0) / count;
  at::Tensor placed = at::zeros({layer.groups, layer.nope_dim + layer.v_dim, up.size(1)}, at::kDouble);
  placed.narrow(0, first, count).narrow(1, from, height).copy_(up.view({count, height, up.size(1)}));
  return placed.flatten(0, 1);
}

std::unique_ptr<Factorizer> make_weighted_svd(const WeightedSvdOptions& options) { return std::make_unique<WeightedSvd>(options); }

}  // namespace mla
