// Shared memory of the warpgroup decode kernel, which plan and kernel agree on: the same for every shape that it takes.
#pragma once
#include "core/cuda/decode.h"
#include "core/cuda/kernels/warpgroup_layout.h"

namespace mla::gpu {

constexpr int kWarpgroupRows = 64, kWarpgroupThreads = 256;
constexpr int kLatentSlabs = 8, kPageSlabs = kLatentSlabs + 1;  // r up to 512; then a slab of rope keys
constexpr int kLargestLatent = kLatentSlabs * kSlabValues;

// Offsets in bytes; slabs at multiples of 1,024.
struct WarpgroupLayout {
  static constexpr uint32_t page = kPageSlabs * kSlabBytes;
  static constexpr uint32_t queries = 0;                                     // without their rope part, which is in registers
  static constexpr uint32_t weights = queries + kLatentSlabs * kSlabBytes;   // of a pair's two pages, a slab each
  static constexpr uint32_t pages = weights + 2 * kSlabBytes;                // two
  static constexpr uint32_t maxima = pages + 2 * page;                       // float [2, rows], after a pair's first and second page; then the sums
  static constexpr uint32_t total = maxima + 2 * kWarpgroupRows * 4;
};

// Does the kernel take these widths? Narrower ones than 512 + 64 cost the same.
constexpr bool fits_warpgroups(const DecodeShape& s) {
  return s.type != Type::fp32 && !is_quantised(s.kind) && s.values_are_keys && s.value_dim == s.key_dim && s.key_dim % 16 == 0 && s.key_dim <= kLargestLatent && s.rope_dim % 16 == 0 &&
         s.rope_dim <= kSlabValues;
}

}  // namespace mla::gpu
