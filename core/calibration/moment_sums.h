// Sums from which statistics are made while batches pass: fp64, on the device of what is added.
#pragma once
#include "core/calibration/stats.h"

namespace mla {

// x [B,T,width] at the unmasked tokens, in fp64.  mask [B,T] bool, on x's device  ->  [n, width]
inline at::Tensor unmasked_rows(const at::Tensor& x, const at::Tensor& mask) {
  return x.masked_select(mask.unsqueeze(-1)).view({-1, x.size(2)}).to(at::kDouble);
}

inline void add_to(at::Tensor& sum, const at::Tensor& more) { sum = sum.defined() ? sum.add_(more) : more; }

// Moments of the vectors at the unmasked tokens.
class MomentSums {
 public:
  void add(const at::Tensor& x, const at::Tensor& mask) {
    const at::Tensor rows = unmasked_rows(x, mask);
    add_to(products_, rows.t().matmul(rows));
    add_to(sum_, rows.sum(0));
    tokens_ += rows.size(0);
  }
  // Each token as if it had been added `weights` times.  weights [B,T] fp64
  void add_weighted(const at::Tensor& x, const at::Tensor& mask, const at::Tensor& weights) {
    const at::Tensor counted = weights.masked_select(mask), rows = unmasked_rows(x, mask), weighted = rows * counted.unsqueeze(1);
    add_to(products_, weighted.t().matmul(rows));
    add_to(sum_, weighted.sum(0));
    tokens_ += rows.size(0);
    weight_ += counted.sum().item<double>();
  }
  // Undefined tensors where nothing was added.
  InputMoments finish() const {
    if (tokens_ == 0) return {};
    const double n = weight_ > 0 ? weight_ : static_cast<double>(tokens_);
    return {tokens_, sum_ / n, products_ / n};
  }

 private:
  int64_t tokens_ = 0;
  double weight_ = 0;  // of add_weighted()
  at::Tensor sum_, products_;
};

}  // namespace mla
