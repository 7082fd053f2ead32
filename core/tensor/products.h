// Matrix products of activations and weights, all of the program's in fp32, bf16 and fp16, by the fastest library at hand.
#pragma once
#include <ATen/ATen.h>

namespace mla {

// x weight^T, plus `bias` where it is defined.  x [...,k]  weight [m,k]  bias [m]  ->  [...,m], of x's dtype. Any strides.
// fp32 on a processor that is not Intel's goes to oneDNN, whose kernels take AVX-512 there where LibTorch's MKL does not (twice the
// speed, docs/performance.md); everything else to ATen. Gradients pass through both.
at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

// a b.  a [m,k]  b [k,n]  ->  [m,n]
inline at::Tensor product(const at::Tensor& a, const at::Tensor& b) { return project(a, b.t()); }

}  // namespace mla
