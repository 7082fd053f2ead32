// A mixture of experts in place of one MLP (Mixtral, arXiv 2401.04088, section 2.1): each token goes through the experts that its
// router likes best.  E experts  I inner width
#pragma once
#include <ATen/ATen.h>

#include "core/checkpoint/model_config.h"

namespace mla {

struct Experts {
  at::Tensor router;   // [E, D]
  at::Tensor gate_up;  // [E, 2*I, D], gate rows first
  at::Tensor down;     // [E, D, I]
  int64_t per_token = 0;
};

// Softmax of the router's logits, the largest `per_token` of them scaled to the sum 1, and the experts' outputs weighted with them.
// x [B,T,D] -> the same shape and dtype.
at::Tensor experts_forward(const Experts& experts, const at::Tensor& x, Activation activation);

}  // namespace mla
