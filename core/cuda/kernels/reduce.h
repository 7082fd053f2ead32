// Sums and maxima over lanes and over a block.
#pragma once
#include "core/cuda/kernels/machine.h"

namespace mla::gpu {

template <class T>
__device__ inline T warp_sum(T x) {
  for (int distance = 16; distance > 0; distance /= 2) x += shuffle_xor(x, distance);
  return x;
}
__device__ inline float warp_max(float x) {
  for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, shuffle_xor(x, distance));
  return x;
}
__device__ inline float quad_max(float x) {
  x = fmaxf(x, shuffle_xor(x, 1));
  return fmaxf(x, shuffle_xor(x, 2));
}
__device__ inline float quad_sum(float x) {
  x += shuffle_xor(x, 1);
  return x + shuffle_xor(x, 2);
}

// Of all threads of a block of kThreads; every thread gets it. `scratch` [kThreads/32] in shared memory is free again after the call.
template <int kThreads, class T>
__device__ inline T block_sum(T x, T* scratch) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  T sum = scratch[0];
  for (int w = 1; w < kThreads / 32; ++w) sum += scratch[w];
  __syncthreads();
  return sum;
}
template <int kThreads>
__device__ inline float block_max(float x, float* scratch) {
  x = warp_max(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  float largest = scratch[0];
  for (int w = 1; w < kThreads / 32; ++w) largest = fmaxf(largest, scratch[w]);
  __syncthreads();
  return largest;
}

}  // namespace mla::gpu
