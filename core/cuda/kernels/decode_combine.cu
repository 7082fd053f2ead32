// Joins the splits of decode.h: out = sum_s exp(log_sum_s - L) out_s with L = log sum_s exp(log_sum_s), the largest subtracted first.
// Reference: combine() of decode_ref.cpp.
#include "core/cuda/kernels/decode_work.h"
#include "core/cuda/kernels/launchers.h"

namespace mla::gpu {
namespace {

constexpr int kThreads = 128;

// grid (B*H), block kThreads
template <class T>
__global__ void __launch_bounds__(kThreads) decode_combine_kernel(const __grid_constant__ DecodeArgs a) {
  const int32_t sequence = static_cast<int32_t>(blockIdx.x) / a.shape.heads, head = static_cast<int32_t>(blockIdx.x) % a.shape.heads;
  const SplitWork work = split_work(a, sequence, 0);
  if (work.count < 2) return;  // its block has written the result
  const float* log_sums = partial_log_sum(a, sequence, head, 0);
  float largest = -INFINITY, sum = 0;
  for (int32_t s = 0; s < work.count; ++s) largest = fmaxf(largest, log_sums[s]);
  for (int32_t s = 0; s < work.count; ++s) sum += expf(log_sums[s] - largest);
  const float log_sum = largest + logf(sum);  // a NaN among them is one here
  T* out = out_row<T>(a, sequence, head);
  for (int32_t column = static_cast<int32_t>(threadIdx.x); column < a.shape.value_dim; column += kThreads) {
    float value = 0;
    for (int32_t s = 0; s < work.count; ++s) value += expf(log_sums[s] - log_sum) * partial_row(a, sequence, head, s)[column];
    out[column] = from_float<T>(value);
  }
  if (threadIdx.x == 0 && a.log_sum != nullptr) a.log_sum[sequence * a.shape.heads + head] = log_sum;
}

template <class T>
int start(const DecodeArgs& a, void* stream) {
  return launch(decode_combine_kernel<T>, {static_cast<unsigned>(a.shape.batch) * static_cast<unsigned>(a.shape.heads), 1, 1}, kThreads, 0, stream, a);
}

}  // namespace

int launch_decode(const DecodeArgs& a, void* stream) {
  const int code = a.plan.kernel == DecodeKernel::wgmma ? launch_decode_wgmma(a, stream)
                   : a.plan.rows == 0                   ? launch_decode_plain(a, stream)
                   : a.shape.type == Type::bf16         ? launch_decode_tensor_bf16(a, stream)
                                                        : launch_decode_tensor_fp16(a, stream);
  if (code != 0 || a.plan.max_splits == 1) return code;
  if (a.shape.type == Type::fp32) return start<float>(a, stream);
  return a.shape.type == Type::fp16 ? start<Half>(a, stream) : start<Brain>(a, stream);
}

}  // namespace mla::gpu
