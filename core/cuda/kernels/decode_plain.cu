// decode.h for any widths and dtypes: one head and split a block, products in fp32, exponentials against the running maximum.
// Memory-bound, but each head reads its pages again. Reference: decode_ref.cpp.
#include "core/cuda/kernels/cache_reader.h"
#include "core/cuda/kernels/decode_work.h"
#include "core/cuda/kernels/launchers.h"
#include "core/cuda/kernels/reduce.h"

namespace mla::gpu {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32;

template <class T>
__device__ float query_value(const DecodeArgs& a, int32_t sequence, int32_t head, int32_t dim) {
  if (dim < a.shape.key_dim) return to_float(static_cast<const T*>(a.q)[sequence * a.q_batch + head * a.q_head + dim]);
  return to_float(static_cast<const T*>(a.q_rope)[sequence * a.q_rope_batch + head * a.q_rope_head + dim - a.shape.key_dim]);
}

// q . key of one row; every lane gets it.
template <class T, CacheKind kKind>
__device__ float dot(const DecodeArgs& a, const float* query, CacheRow row) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t start = row_start(a.key, row), rope = row_start(a.rope, row);
  const Half* pair = static_cast<const Half*>(a.affine.data) + row_start(a.affine, row);
  float sum = 0;
  for (int32_t d = lane; d < a.shape.key_dim; d += 32) sum += query[d] * cache_value<kKind>(a.key.data, start, pair, a.shape.quant_group, d);
  for (int32_t d = lane; d < a.shape.rope_dim; d += 32) sum += query[a.shape.key_dim + d] * to_float(static_cast<const T*>(a.rope.data)[rope + d]);
  return warp_sum(sum);
}

// grid (B*H, max_splits), block kThreads
template <class T, CacheKind kKind>
__global__ void __launch_bounds__(kThreads, 4) decode_plain_kernel(const __grid_constant__ DecodeArgs a) {
  __shared__ float query[1024 + 256], scores[kPageTokens], scratch[kWarps], out[1024];  // a column of out is one thread's
  const int32_t sequence = static_cast<int32_t>(blockIdx.x) / a.shape.heads, head = static_cast<int32_t>(blockIdx.x) % a.shape.heads;
  const int32_t split = static_cast<int32_t>(blockIdx.y), thread = static_cast<int32_t>(threadIdx.x), group = head / (a.shape.heads / a.shape.groups);
  const SplitWork work = split_work(a, sequence, split);
  if (work.count == 0 && split == 0) fill_rows<T>(a, sequence, head, 1, work.broken);
  if (split >= work.count) return;

  for (int32_t d = thread; d < a.shape.key_dim + a.shape.rope_dim; d += kThreads) query[d] = query_value<T>(a, sequence, head, d);
  for (int32_t column = thread; column < a.shape.value_dim; column += kThreads) out[column] = 0;
  __syncthreads();
  const PagedRows& values = a.shape.values_are_keys ? a.key : a.value;
  const PagedRows& affine = a.shape.values_are_keys ? a.affine : a.value_affine;
  float largest = -INFINITY, sum = 0;
  bool known = true;
  for (int32_t n = work.pages.first; n < work.pages.end; ++n) {
    const int32_t page = a.page_table[sequence * a.page_table_stride + n], start = n * static_cast<int32_t>(kPageTokens);
    known = known && page >= 0 && page < a.page_count;
    if (!known) break;  // the same in all threads
    for (int32_t t = thread / 32; t < kPageTokens; t += kWarps) {
      float score = -INFINITY;
      if (start + t >= work.first_token && start + t < work.length) {
        score = dot<T, kKind>(a, query, {page, t, group}) * a.scale;
        if (a.softcap > 0) score = a.softcap * tanhf(score / a.softcap);
      }
      if (thread % 32 == 0) scores[t] = score;
    }
    __syncthreads();
    const float mine = thread < kPageTokens ? scores[thread] : -INFINITY;
    const float higher = fmaxf(largest, block_max<kThreads>(mine, scratch)), factor = expf(largest - higher), weight = expf(mine - higher);
    if (thread < kPageTokens) scores[thread] = weight;
    sum = sum * factor + block_sum<kThreads>(weight, scratch);  // its barriers show the weights to all
    largest = higher;
    const int32_t tokens = work.length - start < kPageTokens ? work.length - start : static_cast<int32_t>(kPageTokens);
    for (int32_t column = thread; column < a.shape.value_dim; column += kThreads) {
      float more = 0;
      for (int32_t t = 0; t < tokens; ++t) {
        const CacheRow row{page, t, group};
        more += scores[t] * cache_value<kKind>(values.data, row_start(values, row), static_cast<const Half*>(affine.data) + row_start(affine, row), a.shape.quant_group, column);
      }
      out[column] = out[column] * factor + more;
    }
    __syncthreads();  // before the next page's scores
  }
  const float log_sum = known ? largest + logf(sum) : NAN;
  for (int32_t column = thread; column < a.shape.value_dim; column += kThreads) {
    const float value = known ? out[column] / sum : NAN;
    if (work.count == 1) out_row<T>(a, sequence, head)[column] = from_float<T>(value);
    else partial_row(a, sequence, head, split)[column] = value;
  }
  if (thread != 0) return;
  if (work.count > 1) *partial_log_sum(a, sequence, head, split) = log_sum;
  else if (a.log_sum != nullptr) a.log_sum[sequence * a.shape.heads + head] = log_sum;
}

template <class T, CacheKind kKind>
int start(const DecodeArgs& a, void* stream) {
  const Grid grid{static_cast<unsigned>(a.shape.batch) * static_cast<unsigned>(a.shape.heads), static_cast<unsigned>(a.plan.max_splits), 1};
  return launch(decode_plain_kernel<T, kKind>, grid, kThreads, 0, stream, a);
}

template <class T, CacheKind kOwn>
int start_kind(const DecodeArgs& a, void* stream) {
  if (a.shape.kind == CacheKind::int8) return start<T, CacheKind::int8>(a, stream);
  if (a.shape.kind == CacheKind::int4) return start<T, CacheKind::int4>(a, stream);
  return start<T, kOwn>(a, stream);
}

}  // namespace

int launch_decode_plain(const DecodeArgs& a, void* stream) {
  if (a.shape.type == Type::fp32) return start_kind<float, CacheKind::fp32>(a, stream);
  if (a.shape.type == Type::fp16) return start_kind<Half, CacheKind::fp16>(a, stream);
  return start_kind<Brain, CacheKind::bf16>(a, stream);
}

}  // namespace mla::gpu
