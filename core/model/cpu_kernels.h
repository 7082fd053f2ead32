// The element-wise work between GEMMs, one pass each. On the CPU our own loops for fp32, ATen for the rest.
#pragma once
#include <ATen/ATen.h>

#include "core/model/rope.h"

namespace mla {

// x * rsqrt(mean(x^2) + eps) * weight over the last dim, statistics in fp32.  x [...,D]  weight [D]
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// silu(gate) * up from x [...,2*I], gate first -> [...,I]
at::Tensor swiglu(const at::Tensor& gate_up);

}  // namespace mla
