// swiglu.h: a thread takes 16 bytes of gate and of up where rows allow it, else one value each. Memory-bound. Reference: swiglu_ref.cpp.
#include <cmath>

#include "core/cuda/kernels/launchers.h"
#include "core/cuda/kernels/machine.h"

namespace mla::gpu {
namespace {

constexpr int kThreads = 256;

template <class T, int kCount>
struct __align__(sizeof(T) * kCount) Pack {
  T value[kCount];
};

// grid (ceil(inner / (kThreads kCount)), rows up to 65535 at a time), block kThreads
template <class T, int kCount>
__global__ void __launch_bounds__(kThreads) swiglu_kernel(const __grid_constant__ SwigluArgs a) {
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kCount;
  if (column >= a.inner) return;
  for (int64_t row = blockIdx.y; row < a.rows; row += gridDim.y) {
    const T* from = static_cast<const T*>(a.gate_up) + row * 2 * a.inner + column;
    const auto gate = *reinterpret_cast<const Pack<T, kCount>*>(from), up = *reinterpret_cast<const Pack<T, kCount>*>(from + a.inner);
    Pack<T, kCount> out;
    for (int i = 0; i < kCount; ++i) {
      const float g = to_float(gate.value[i]);
      out.value[i] = from_float<T>(g / (1.0f + expf(-g)) * to_float(up.value[i]));
    }
    *reinterpret_cast<Pack<T, kCount>*>(static_cast<T*>(a.out) + row * a.inner + column) = out;
  }
}

template <class T, int kCount>
int start(const SwigluArgs& a, void* stream) {
  const int64_t blocks = (a.inner + kThreads * kCount - 1) / (kThreads * kCount);
  return launch(swiglu_kernel<T, kCount>, {static_cast<unsigned>(blocks), static_cast<unsigned>(a.rows < 65535 ? a.rows : 65535), 1}, kThreads, 0, stream, a);
}

template <class T>
int start_type(const SwigluArgs& a, void* stream) {
  constexpr int kCount = 16 / sizeof(T);
  const bool whole = a.inner % kCount == 0 && reinterpret_cast<uintptr_t>(a.gate_up) % 16 == 0 && reinterpret_cast<uintptr_t>(a.out) % 16 == 0;
  return whole ? start<T, kCount>(a, stream) : start<T, 1>(a, stream);
}

}  // namespace

int launch_swiglu(const SwigluArgs& a, void* stream) {
  if (a.type == Type::fp32) return start_type<float>(a, stream);
  return a.type == Type::fp16 ? start_type<Half>(a, stream) : start_type<Brain>(a, stream);
}

}  // namespace mla::gpu
