// Rotary position embedding over any subset of frequencies. Pairs are (i, i + d_R/2) of a rope vector of d_R dims.
#pragma once
#include <ATen/ATen.h>

namespace mla {

// Which frequencies a layer's rope vectors keep.
struct RopePlan {
  at::Tensor inv_freq;  // [rope_heads, d_R/2] fp64, radians per position
  double attention_factor = 1.0;
  int64_t rope_heads() const { return inv_freq.size(0); }
  int64_t dims() const { return 2 * inv_freq.size(1); }
};

// theta^(-2i/head_dim) for i < head_dim/2.  [head_dim/2] fp64
at::Tensor standard_inv_freq(double theta, int64_t head_dim);

struct RopeTable {
  at::Tensor cos;  // [T, rope_heads, d_R/2] fp32
  at::Tensor sin;
};
// Angles of positions start .. start+count-1.
RopeTable rope_table(const RopePlan& plan, int64_t start, int64_t count, at::Device device);

// Rotates x [B,T,N,d_R] in place of a copy; head n uses rope head n / (N / rope_heads). Result has x's dtype.
at::Tensor apply_rope(const at::Tensor& x, const RopeTable& table);

}  // namespace mla
