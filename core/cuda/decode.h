// One new token's attention over a cache in pages of 64 tokens: absorbed MLA, and grouped queries for the original.
//   score(b, i, t) = scale * (q[b,i] . key[t,g] + q_rope[b,i] . rope[t,g]),  g = i / (H/G), soft-capped, within the window
//   out[b,i] = sum_t softmax_t(score) value[t,g]
// Absorbed MLA: keys and values are both the latent [r], one for all heads (group_stride 0), so a page is read once for all of them.
// Grouped queries: keys and values [G,h], no rope part (keys are cached rotated).
// B sequences  H query heads  G key/value heads  t of the sequence's lengths[b] tokens, the last of which is the query's own
#pragma once
#include <vector>

#include "core/cuda/numbers.h"

namespace mla::gpu {

constexpr int64_t kPageTokens = 64;

// Rows of pages: row t of page p and group g starts `p page + t row + g group` values after `data` (int4: two values a byte, the first
// in the lower half; all strides even).
struct PagedRows {
  const void* data = nullptr;
  int64_t page_stride = 0, row_stride = 0, group_stride = 0;  // in values
};

struct DecodeShape {
  int32_t batch = 0, heads = 0, groups = 1;   // B, H, G; H a multiple of G
  int32_t key_dim = 0, rope_dim = 0;          // r and d_R; h and 0
  int32_t value_dim = 0;                      // r; h
  Type type = Type::bf16;                     // of q, q_rope, rope and out
  CacheKind kind = CacheKind::bf16;           // of keys and values: type's own, or int8, int4
  int32_t quant_group = 64;                   // values that share scale and minimum, counted from a row's first; int8 and int4 only
  bool values_are_keys = true;                // the latent
};

// fitting: the plain kernel or the mma kernel, as shape and card have it. wgmma: the warpgroup kernel of compute capability 9.0, which is
// never planned but where it is asked for.
enum class DecodeKernel : int32_t { fitting, wgmma };

// How the keys of a sequence are divided over blocks; of plan_decode().
struct DecodePlan {
  DecodeKernel kernel = DecodeKernel::fitting;
  int32_t rows = 0;            // query heads of a block that uses tensor cores: 16, 32, 64; 0: the plain kernel, one head a block
  int32_t pages_per_split = 1;
  int32_t max_splits = 1;      // of any sequence
  int32_t stages = 1;          // pages in shared memory at once
  int64_t shared_bytes = 0;    // of a block
  int64_t workspace_bytes = 0;
};

struct DecodeArgs {
  DecodeShape shape;
  DecodePlan plan;
  float scale = 1, softcap = 0;        // softcap 0: none
  int32_t window = 0;                  // tokens that the query sees, itself included; 0: all
  const void* q = nullptr;             // [B,H,key_dim], rows contiguous
  const void* q_rope = nullptr;        // [B,H,rope_dim]; null where rope_dim is 0
  int64_t q_batch = 0, q_head = 0, q_rope_batch = 0, q_rope_head = 0;  // strides in values
  PagedRows key, value;                // value: not read where values_are_keys
  PagedRows rope;                      // [pages, 64, d_R] of `type`
  PagedRows affine;                    // of quantised keys: fp16 pairs (scale, minimum), ceil(key_dim/quant_group) a row; strides in fp16 values
  PagedRows value_affine;              // the same of values that are not keys
  const int32_t* page_table = nullptr; // [B, max_pages]: page of the tokens 64 n .. 64 n + 63
  int64_t page_table_stride = 0;
  int32_t max_pages = 0, page_count = 0;
  const int32_t* lengths = nullptr;    // [B]; 0: out is zero
  void* out = nullptr;                 // [B,H,value_dim] of `type`
  int64_t out_batch = 0, out_head = 0;
  float* log_sum = nullptr;            // optional [B,H]: log of the softmax's denominator; minus infinity for an empty sequence
  void* workspace = nullptr;           // plan.workspace_bytes, 16-byte aligned
};
// A length above 64 max_pages or a page outside [0, page_count) in the device's tables cannot stop a launch: that sequence's out is NaN,
// and nothing outside the pages is read.

// What a plan needs to know of the card, and which kernel was asked for.
struct CardLimits {
  int32_t multiprocessors = 0;
  int64_t shared_bytes = 0;  // the most that a block may ask for
  bool tensor_cores = true;  // compute capability 8.0 or newer
  bool warpgroups = false;   // compute capability 9.0
  DecodeKernel kernel = DecodeKernel::fitting;
};

// lengths [B], the longest that the plan is to serve. Throws ShapeError for a shape that no kernel takes: key_dim and value_dim are 1 to
// 1024, rope_dim 0 to 256 and even, H a multiple of G, quant_group at least 1 and even. Where card.kernel is wgmma, CudaError for a card
// and ShapeError for a shape that it does not take (decode_wgmma_layout.h).
DecodePlan plan_decode(const DecodeShape& shape, const std::vector<int32_t>& lengths, int32_t window, const CardLimits& card);

// Throws ShapeError where a pointer or a stride does not fit shape and plan. Reads nothing from the device.
void check_decode(const DecodeArgs& args);

// ---- what plan and kernels share -----------------------------------------------------------------------------------

// Pages that the query sees: first .. end-1.
struct PageRange {
  int32_t first, end;
};
MLA_HOST_DEVICE constexpr int32_t first_visible(int32_t length, int32_t window) { return window > 0 && window < length ? length - window : 0; }
MLA_HOST_DEVICE constexpr PageRange visible_pages(int32_t length, int32_t window) {
  return {static_cast<int32_t>(first_visible(length, window) / kPageTokens), static_cast<int32_t>((length + kPageTokens - 1) / kPageTokens)};
}
MLA_HOST_DEVICE constexpr int32_t split_count(PageRange pages, int32_t pages_per_split) {
  return (pages.end - pages.first + pages_per_split - 1) / pages_per_split;
}
MLA_HOST_DEVICE constexpr PageRange split_pages(PageRange pages, int32_t pages_per_split, int32_t split) {
  const int32_t first = pages.first + split * pages_per_split, end = first + pages_per_split;
  return {first, end < pages.end ? end : pages.end};
}

namespace reference {
// Plain loops in fp64 over host memory; `workspace` and the plan's rows, stages and bytes are not used. A result is rounded once.
void decode(const DecodeArgs& args);

// The same for one sequence and head over the tokens first .. end-1 alone, and joined again.
struct Partial {
  std::vector<double> out;  // [value_dim], softmax over these tokens
  double log_sum;           // of their scores' exponentials
};
Partial decode_range(const DecodeArgs& args, int32_t sequence, int32_t head, int32_t first, int32_t end);
Partial combine(const std::vector<Partial>& parts);
}  // namespace reference

}  // namespace mla::gpu
