// Rotary position embedding over any subset of frequencies. Pairs are (i, i + d_R/2) of a rope vector of d_R dims.
#pragma once
#include <ATen/ATen.h>

#include <vector>

namespace mla {

// Which frequencies a layer's rope vectors keep. A pair of frequency 0 is not rotated, nor scaled by attention_factor: dims that a
// model leaves without position are such pairs.
struct RopePlan {
  at::Tensor inv_freq;  // [rope_heads, d_R/2] fp64, radians per position
  double attention_factor = 1.0;  // of cosine and sine
  // In sequences of more than short_length tokens (0: there is no such length) other frequencies hold, one of:
  int64_t short_length = 0;
  at::Tensor long_inv_freq;   // these (longrope), [rope_heads, d_R/2]
  at::Tensor stretch;         // or inv_freq * (f * length / short_length - (f - 1))^-stretch (dynamic), [rope_heads, d_R/2]
  double stretch_factor = 1;  // f

  int64_t rope_heads() const { return inv_freq.size(0); }
  int64_t dims() const { return 2 * inv_freq.size(1); }
  bool by_length() const { return short_length > 0; }
  // Of a sequence of that many tokens.  [rope_heads, d_R/2]
  at::Tensor frequencies(int64_t length) const;
  // The pairs `index` [n] int64 of each rope head.
  RopePlan pairs(const at::Tensor& index) const;
  // Calls visit(tensor) on each defined tensor: they all have inv_freq's shape.
  template <class Visit>
  void each(const Visit& visit) {
    for (at::Tensor* t : {&inv_freq, &long_inv_freq, &stretch})
      if (t->defined()) visit(*t);
  }
};
// The rope heads of all plans one after another; the plans differ in frequencies alone.
RopePlan stacked(const std::vector<RopePlan>& plans);

// theta^(-2i/head_dim) for i < head_dim/2.  [head_dim/2] fp64
at::Tensor standard_inv_freq(double theta, int64_t head_dim);

struct RopeTable {
  at::Tensor cos;  // [T, rope_heads, d_R/2] fp32
  at::Tensor sin;
};
// Angles of positions start .. start+count-1, in a sequence of start+count tokens.
RopeTable rope_table(const RopePlan& plan, int64_t start, int64_t count, at::Device device);

// Rotates x [B,T,N,d_R] in place of a copy; head n uses rope head n / (N / rope_heads). Result has x's dtype.
at::Tensor apply_rope(const at::Tensor& x, const RopeTable& table);

}  // namespace mla
