// residual_norm.h: one block a row. Memory-bound: x and residual are read once, the sum is read again from the cache.
// Reference: residual_norm_ref.cpp.
#include "core/cuda/kernels/launchers.h"
#include "core/cuda/kernels/reduce.h"

namespace mla::gpu {
namespace {

constexpr int kThreads = 256;

// grid (rows), block kThreads
template <class T, class W>
__global__ void __launch_bounds__(kThreads) residual_norm_kernel(const __grid_constant__ ResidualNormArgs a) {
  __shared__ float scratch[kThreads / 32];
  const int64_t start = static_cast<int64_t>(blockIdx.x) * a.width;
  T *residual = static_cast<T*>(a.residual) + start, *out = static_cast<T*>(a.out) + start;
  const T* x = static_cast<const T*>(a.x);
  const W* weight = static_cast<const W*>(a.weight);
  float squares = 0;
  for (int64_t i = threadIdx.x; i < a.width; i += kThreads) {
    T sum = residual[i];
    if (x != nullptr) residual[i] = sum = from_float<T>(to_float(sum) + to_float(x[start + i]));
    squares += to_float(sum) * to_float(sum);
  }
  const float factor = 1.0f / sqrtf(block_sum<kThreads>(squares, scratch) / static_cast<float>(a.width) + a.eps);
  for (int64_t i = threadIdx.x; i < a.width; i += kThreads) {
    const float normed = to_float(residual[i]) * factor;  // this thread's own sum
    if constexpr (sizeof(W) == 4) out[i] = from_float<T>(normed * to_float(weight[i]));
    else out[i] = from_float<T>(to_float(from_float<T>(normed)) * to_float(weight[i]));
  }
}

template <class T, class W>
int start(const ResidualNormArgs& a, void* stream) {
  return launch(residual_norm_kernel<T, W>, {static_cast<unsigned>(a.rows), 1, 1}, kThreads, 0, stream, a);
}

}  // namespace

int launch_residual_norm(const ResidualNormArgs& a, void* stream) {
  if (a.type == Type::fp32) return start<float, float>(a, stream);
  if (a.type == Type::fp16) return a.weight_type == Type::fp32 ? start<Half, float>(a, stream) : start<Half, Half>(a, stream);
  return a.weight_type == Type::fp32 ? start<Brain, float>(a, stream) : start<Brain, Brain>(a, stream);
}

}  // namespace mla::gpu
