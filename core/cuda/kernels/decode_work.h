// What every decode kernel does alike: which pages a block has, and where its result goes.
#pragma once
#include <cmath>

#include "core/cuda/decode.h"
#include "core/cuda/kernels/machine.h"

namespace mla::gpu {

constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

// Which query heads a block has: at most `rows` of one key group, the grid's x being [B, G, tiles of rows] and its y the splits.
struct HeadTile {
  int32_t sequence, group, first_head, head_count, split;
};
MLA_HOST_DEVICE constexpr int32_t head_tiles(const DecodeShape& shape, int32_t rows) { return (shape.heads / shape.groups + rows - 1) / rows; }
__device__ __forceinline__ HeadTile head_tile(const DecodeShape& shape, int32_t rows) {
  const int32_t share = shape.heads / shape.groups, tiles = head_tiles(shape, rows), block = static_cast<int32_t>(blockIdx.x);
  const int32_t group = block / tiles % shape.groups, before = block % tiles * rows;
  return {block / (shape.groups * tiles), group, group * share + before, share - before < rows ? share - before : rows, static_cast<int32_t>(blockIdx.y)};
}

// The pages of one split of a sequence. count: splits of this sequence; 0 where it is empty, or where its length is more than its page
// table or the plan holds: `broken` then.
struct SplitWork {
  PageRange pages;
  int32_t length, first_token, count;
  bool broken;
};
__device__ inline SplitWork split_work(const DecodeArgs& a, int32_t sequence, int32_t split) {
  const int32_t length = a.lengths[sequence];
  const PageRange all = visible_pages(length, a.window);
  const int32_t count = split_count(all, a.plan.pages_per_split);
  const bool broken = length < 0 || length > kPageTokens * a.max_pages || count > a.plan.max_splits;
  return {split_pages(all, a.plan.pages_per_split, split), length, first_visible(length, a.window), broken || length <= 0 ? 0 : count, broken};
}

// Workspace: partial results [B,H,max_splits,value_dim], then their log sums [B,H,max_splits].
__device__ inline float* partial_row(const DecodeArgs& a, int32_t sequence, int32_t head, int32_t split) {
  const int64_t row = (static_cast<int64_t>(sequence) * a.shape.heads + head) * a.plan.max_splits + split;
  return static_cast<float*>(a.workspace) + row * a.shape.value_dim;
}
__device__ inline float* partial_log_sum(const DecodeArgs& a, int32_t sequence, int32_t head, int32_t split) {
  const int64_t rows = static_cast<int64_t>(a.shape.batch) * a.shape.heads * a.plan.max_splits;
  const int64_t row = (static_cast<int64_t>(sequence) * a.shape.heads + head) * a.plan.max_splits + split;
  return static_cast<float*>(a.workspace) + rows * a.shape.value_dim + row;
}
template <class T>
__device__ inline T* out_row(const DecodeArgs& a, int32_t sequence, int32_t head) {
  return static_cast<T*>(a.out) + sequence * a.out_batch + head * a.out_head;
}

// Whole result of a sequence without splits, for heads first .. first+count-1: zeros, or NaNs where its length is broken.
template <class T>
__device__ inline void fill_rows(const DecodeArgs& a, int32_t sequence, int32_t first, int32_t count, bool broken) {
  const float value = broken ? NAN : 0.0f;
  for (int32_t head = first; head < first + count; ++head) {
    T* out = out_row<T>(a, sequence, head);
    for (int32_t column = static_cast<int32_t>(threadIdx.x); column < a.shape.value_dim; column += static_cast<int32_t>(blockDim.x)) out[column] = from_float<T>(value);
    if (threadIdx.x == 0 && a.log_sum != nullptr) a.log_sum[sequence * a.shape.heads + head] = broken ? NAN : -INFINITY;
  }
}

}  // namespace mla::gpu
