// cache_append.h: one block a token. Rotation in fp32; a warp finds a quantisation group's smallest and largest value and writes its codes.
// Reference: cache_append_ref.cpp.
#include "core/cuda/kernels/launchers.h"
#include "core/cuda/kernels/quantise.h"
#include "core/cuda/kernels/reduce.h"

namespace mla::gpu {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32, kLargestDim = 1024;

struct Place {
  int32_t page, row;  // page -1: the tables do not hold it
};
__device__ Place place_of(const CacheAppendArgs& a, int32_t token) {
  const int32_t sequence = a.sequence[token], position = a.position[token];
  if (sequence < 0 || sequence >= a.batch || position < 0 || position >= kPageTokens * a.max_pages || (a.dim > 0 && position >= a.positions_held)) return {-1, 0};
  const int32_t page = a.page_table[sequence * a.page_table_stride + position / kPageTokens];
  return {page < a.page_count ? page : -1, static_cast<int32_t>(position % kPageTokens)};
}

// value(i) for i < width -> codes from `first` on, and their scales and minima. Whole warps call this for the block.
template <class F>
__device__ void quantise_row(const CacheAppendArgs& a, const PagedTarget& to, Place place, int32_t group, int32_t width, const F& value) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t first = place.page * to.page_stride + place.row * to.row_stride + group * to.group_stride;
  auto* codes = static_cast<uint8_t*>(to.data) + (to.kind == CacheKind::int4 ? first / 2 : first);
  auto* pairs = static_cast<Half*>(to.affine) + place.page * to.affine_page_stride + place.row * to.affine_row_stride + group * to.affine_group_stride;
  for (int32_t g = static_cast<int32_t>(threadIdx.x) / 32; g * a.quant_group < width; g += kWarps) {
    const int32_t start = g * a.quant_group, end = start + a.quant_group < width ? start + a.quant_group : width;
    float smallest = INFINITY, largest = -INFINITY;
    for (int32_t i = start + lane; i < end; i += 32) {
      smallest = fminf(smallest, value(i));
      largest = fmaxf(largest, value(i));
    }
    const Affine affine = affine_of(to.kind, -warp_max(-smallest), warp_max(largest));
    if (lane == 0) {
      pairs[2 * g] = affine.scale;
      pairs[2 * g + 1] = affine.minimum;
      if (!affine.finite() && a.faults != nullptr) atomicAdd(a.faults, 1);
    }
    if (to.kind == CacheKind::int8) {
      for (int32_t i = start + lane; i < end; i += 32) codes[i] = code_of(to.kind, affine, value(i));
    } else {
      for (int32_t i = start + 2 * lane; i < end; i += 64) {
        const uint8_t low = code_of(to.kind, affine, value(i)), high = i + 1 < end ? code_of(to.kind, affine, value(i + 1)) : 0;
        codes[i / 2] = static_cast<uint8_t>(low | high << 4);
      }
    }
  }
}

template <class T>
__device__ T* target_row(const PagedTarget& to, Place place, int32_t group) {
  return static_cast<T*>(to.data) + place.page * to.page_stride + place.row * to.row_stride + group * to.group_stride;
}

// grid (N), block kThreads
template <class T>
__global__ void __launch_bounds__(kThreads) cache_append_kernel(const __grid_constant__ CacheAppendArgs a) {
  __shared__ float turned[kLargestDim];
  const int32_t token = static_cast<int32_t>(blockIdx.x), thread = static_cast<int32_t>(threadIdx.x), half = a.dim / 2;
  const Place place = place_of(a, token);
  const bool lost = place.page < 0;
  if (lost && thread == 0 && a.faults != nullptr) atomicAdd(a.faults, 1);
  const int64_t angles = lost ? 0 : static_cast<int64_t>(a.position[token]) * a.rope_heads;
  // Element i of the first half of a row of `heads` rows, and its partner, rotated.
  const auto rotate = [&](const T* row, int32_t head, int32_t heads, int32_t i, float& first, float& second) {
    const int64_t angle = (angles + head / (heads / a.rope_heads)) * half + i;
    const float x = to_float(row[i]), y = to_float(row[i + half]), cos = a.cos[angle], sin = a.sin[angle];
    first = x * cos - y * sin;
    second = y * cos + x * sin;
  };
  for (int32_t i = thread; i < a.heads * half; i += kThreads) {
    T* row = static_cast<T*>(a.queries) + token * a.query_stride + i / half * a.query_head;
    float first = NAN, second = NAN;
    if (!lost) rotate(row, i / half, a.heads, i % half, first, second);
    row[i % half] = from_float<T>(first);
    row[i % half + half] = from_float<T>(second);
  }
  if (lost) return;

  const T* plain = static_cast<const T*>(a.plain) + token * a.plain_stride;
  if (is_quantised(a.plain_rows.kind)) {
    if (a.width > 0) quantise_row(a, a.plain_rows, place, 0, a.width, [&](int32_t i) { return to_float(plain[i]); });
  } else {
    for (int32_t i = thread; i < a.width; i += kThreads) target_row<T>(a.plain_rows, place, 0)[i] = plain[i];
  }

  for (int32_t group = 0; group < a.groups && a.dim > 0; ++group) {
    const T* row = static_cast<const T*>(a.rotated) + token * a.rotated_stride + group * a.dim;
    __syncthreads();  // the group before has been read
    for (int32_t i = thread; i < half; i += kThreads) {
      float first, second;
      rotate(row, group, a.groups, i, first, second);
      turned[i] = to_float(from_float<T>(first));
      turned[i + half] = to_float(from_float<T>(second));
    }
    __syncthreads();
    if (is_quantised(a.rotated_rows.kind)) {
      quantise_row(a, a.rotated_rows, place, group, a.dim, [&](int32_t i) { return turned[i]; });
    } else {
      for (int32_t i = thread; i < a.dim; i += kThreads) target_row<T>(a.rotated_rows, place, group)[i] = from_float<T>(turned[i]);
    }
  }
}

}  // namespace

int launch_cache_append(const CacheAppendArgs& a, void* stream) {
  const Grid grid{static_cast<unsigned>(a.tokens), 1, 1};
  if (a.type == Type::fp32) return launch(cache_append_kernel<float>, grid, kThreads, 0, stream, a);
  return a.type == Type::fp16 ? launch(cache_append_kernel<Half>, grid, kThreads, 0, stream, a) : launch(cache_append_kernel<Brain>, grid, kThreads, 0, stream, a);
}

}  // namespace mla::gpu
