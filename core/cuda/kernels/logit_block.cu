// logit_block.h: one block of threads a token; each stage's row is read twice, for its maximum and for its sums. Exponentials and a
// thread's sums in fp32, sums of threads and of blocks in fp64. Reference: logit_block_ref.cpp.
#include "core/cuda/kernels/launchers.h"
#include "core/cuda/kernels/reduce.h"

namespace mla::gpu {
namespace {

constexpr int kThreads = 256;

template <class T>
__device__ float logit(const LogitBlockArgs& a, int stage, int64_t token, int64_t column) {
  const float l = to_float(static_cast<const T*>(a.logits[stage])[token * a.row_stride + column]);
  return a.softcap[stage] > 0 ? a.softcap[stage] * tanhf(l / a.softcap[stage]) : l;
}

// The first column whose logit is `largest`; every thread gets it.
template <class T>
__device__ int64_t first_column(const LogitBlockArgs& a, int stage, int64_t token, float largest, float* scratch) {
  int64_t mine = a.width;
  for (int64_t v = threadIdx.x; v < a.width && mine == a.width; v += kThreads)
    if (logit<T>(a, stage, token, v) == largest) mine = v;
  return static_cast<int64_t>(-block_max<kThreads>(-static_cast<float>(mine), scratch));  // columns below 2^24 are exact
}

// grid (N), block kThreads
template <class T>
__global__ void __launch_bounds__(kThreads) logit_block_kernel(const __grid_constant__ LogitBlockArgs a) {
  __shared__ float scratch[kThreads / 32];
  __shared__ double wide_scratch[kThreads / 32];
  const int64_t token = blockIdx.x, target = a.targets[token] - a.first;
  float p_maximum = 0;
  double p_shrink = 1;
  for (int s = 0; s < a.stages; ++s) {
    RunningScore* kept = a.running + s * a.tokens + token;
    RunningScore now = *kept;
    float largest = -INFINITY;
    for (int64_t v = threadIdx.x; v < a.width; v += kThreads) largest = fmaxf(largest, logit<T>(a, s, token, v));
    largest = block_max<kThreads>(largest, scratch);
    double shrink = 1;
    if (largest > now.maximum) {  // the same in all threads
      shrink = exp(static_cast<double>(now.maximum) - largest);
      now.maximum = largest;
      now.top = a.first + first_column<T>(a, s, token, largest, scratch);
    }
    if (s == 0) {
      p_maximum = now.maximum;
      p_shrink = shrink;
    }
    float sum = 0, cross = 0;
    for (int64_t v = threadIdx.x; v < a.width; v += kThreads) {
      const float l = logit<T>(a, s, token, v);
      sum += expf(l - now.maximum);
      if (s == 0) continue;
      const float p = logit<T>(a, 0, token, v);
      cross += expf(p - p_maximum) * (p - l);
    }
    now.sum = now.sum * shrink + block_sum<kThreads>(static_cast<double>(sum), wide_scratch);
    if (s > 0) now.cross = now.cross * p_shrink + block_sum<kThreads>(static_cast<double>(cross), wide_scratch);
    if (target >= 0 && target < a.width) now.target = logit<T>(a, s, token, target);
    if (threadIdx.x == 0) *kept = now;
  }
}

}  // namespace

int launch_logit_block(const LogitBlockArgs& a, void* stream) {
  const Grid grid{a.width > 0 ? static_cast<unsigned>(a.tokens) : 0u, 1, 1};
  if (a.type == Type::fp32) return launch(logit_block_kernel<float>, grid, kThreads, 0, stream, a);
  return a.type == Type::fp16 ? launch(logit_block_kernel<Half>, grid, kThreads, 0, stream, a) : launch(logit_block_kernel<Brain>, grid, kThreads, 0, stream, a);
}

}  // namespace mla::gpu
