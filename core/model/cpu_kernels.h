// The element-wise work between GEMMs, one pass each. On the CPU our own loops for fp32 and bf16, ATen for the rest.
#pragma once
#include <ATen/ATen.h>

#include "core/checkpoint/model_config.h"
#include "core/model/rope.h"
#include "core/tensor/products.h"

namespace mla {

// x * rsqrt(mean(x^2) + eps) * weight over the last dim, statistics in fp32.  x [...,D]  weight [D]  ->  x's dtype. A weight in fp32
// beside a narrower x is multiplied in fp32 (Gemma).
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// activation(gate) * up from x [...,2*I], gate first -> [...,I]. With bf16 the activation is rounded before the product.
at::Tensor gated(const at::Tensor& gate_up, Activation activation);

}  // namespace mla
