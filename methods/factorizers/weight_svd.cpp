#include "methods/factorizers/weight_svd.h"

namespace mla {
namespace {

// Rows of `rows` (a slice of [keys; values] over all groups) placed at their group's place of kv_b.
// from: 0 for keys, n for values.
at::Tensor place(const SplitLayer& layer, const at::Tensor& up, int64_t from, int64_t height) {
  at::Tensor placed = at::zeros({layer.groups, layer.nope_dim + layer.v_dim, up.size(1)}, up.options());
  placed.narrow(1, from, height).copy_(up.view({layer.groups, height, up.size(1)}));
  return placed.flatten(0, 1);
}

SpectrumPart whole(const at::Tensor& weight, const at::Tensor& placed) {
  return {weight, placed, at::ones({weight.size(0)}, weight.options()), false};
}

class WeightSvd : public Factorizer {
 public:
  explicit WeightSvd(SvdMode mode) : mode_(mode) {}
  StatKinds needs() const override { return {}; }
  Json state() const override { return {{"factorizer", "weight_svd"}, {"mode", static_cast<int>(mode_)}}; }

  Spectrum factorize(const SplitLayer& layer, const LayerStats&) const override {
    const int64_t n = layer.nope_dim, v = layer.v_dim;
    const auto keys = [&](const at::Tensor& up) { return place(layer, layer.k_up.matmul(up), 0, n); };
    const auto values = [&](const at::Tensor& up) {  // each head of values at every group that shares it
      return place(layer, up.view({-1, v, up.size(1)}).repeat_interleave(layer.value_share, 0).flatten(0, 1), n, v);
    };
    const auto eye = [&](int64_t size) { return at::eye(size, layer.v.options()); };
    if (mode_ == SvdMode::joint) {
      const auto [u, s, vh] = at::linalg_svd(at::cat({layer.k_free, layer.v}), false);
      const at::Tensor up = u * s;
      const int64_t free_dims = layer.k_free.size(0);
      return {{{vh, keys(up.narrow(0, 0, free_dims)) + values(up.slice(0, free_dims)), s.square(), true}}};
    }
    const bool compress_keys = mode_ == SvdMode::split || mode_ == SvdMode::only_key;
    const bool compress_values = mode_ == SvdMode::split || mode_ == SvdMode::only_value;
    Spectrum spectrum;
    if (compress_keys) {
      const auto [u, s, vh] = at::linalg_svd(layer.k_free, false);
      spectrum.parts.push_back({vh, keys(u * s), s.square(), true});
    } else {
      spectrum.parts.push_back(whole(layer.k_free, keys(eye(layer.k_free.size(0)))));
    }
    if (compress_values) {
      const auto [u, s, vh] = at::linalg_svd(layer.v, false);
      spectrum.parts.push_back({vh, values(u * s), s.square(), true});
    } else {
      spectrum.parts.push_back(whole(layer.v, values(eye(layer.v.size(0)))));
    }
    return spectrum;
  }

 private:
  SvdMode mode_;
};

}  // namespace

std::unique_ptr<Factorizer> make_weight_svd(SvdMode mode) { return std::make_unique<WeightSvd>(mode); }

}  // namespace mla
