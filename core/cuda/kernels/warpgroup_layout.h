// What wgmma.mma_async reads and writes (PTX ISA, "Asynchronous Warpgroup Level Matrix"): tiles of 16-bit values in shared memory that a
// descriptor names, and the result that 128 threads hold.
//   slab        [64 rows, 64 values]: rows of 128 bytes, 16-byte chunk c of row r at place c ^ (r % 8); starts at a multiple of 1,024 bytes
//   K-major     a row is a row of A or a column of B, values run over k: queries, weights, and keys of the scores
//   MN-major    a row is one k, values run over the columns of B: the same slab as values of the result
#pragma once
#include "core/cuda/kernels/fragments.h"

namespace mla::gpu {

constexpr int kSlabValues = 64, kSlabRows = 64, kSlabPitch = kSlabValues / kChunk;
constexpr uint32_t kSlabBytes = kSlabRows * kSlabValues * 2, kSlabAlignment = 1024;
constexpr uint32_t kEightRows = 8 * kSlabValues * 2;  // bytes from a row to the eighth after it

// Byte of a chunk within its slab.
MLA_HOST_DEVICE constexpr uint32_t slab_byte(int row, int chunk) { return static_cast<uint32_t>(swizzled(row, chunk, kSlabPitch) * 16); }

// Bits 0-13 start address, 16-29 leading and 32-45 stride byte offset, each over 16; 62-63 swizzle, 1: 128 bytes.
MLA_HOST_DEVICE constexpr uint64_t slab_descriptor(uint32_t address, uint32_t leading) {
  const auto encoded = [](uint32_t x) { return static_cast<uint64_t>((x & 0x3ffffu) >> 4); };
  return encoded(address) | encoded(leading) << 16 | encoded(kEightRows) << 32 | uint64_t{1} << 62;
}
// Slabs that follow one another. K-major: 16 values of k are 32 bytes of a slab, the leading offset is not used.
MLA_HOST_DEVICE constexpr uint64_t k_major(uint32_t address) { return slab_descriptor(address, 16); }
MLA_HOST_DEVICE constexpr uint64_t k_major_step(int slab, int step) { return (static_cast<uint64_t>(slab) * kSlabBytes + static_cast<uint64_t>(step) * 32) >> 4; }
// MN-major: 16 of k are 16 rows, the next 64 columns are the next slab's.
MLA_HOST_DEVICE constexpr uint64_t mn_major(uint32_t address) { return slab_descriptor(address, kSlabBytes); }
MLA_HOST_DEVICE constexpr uint64_t mn_major_step(int step) { return (static_cast<uint64_t>(step) * 2 * kEightRows) >> 4; }

// Element `index` of the result D [64, N] that thread 0..127 of the warpgroup holds; rows of A are divided over warps alike, and lanes
// hold A as in fragments.h.
MLA_HOST_DEVICE constexpr Element d_element(int thread, int index) {
  return {thread / 32 * 16 + thread % 32 / 4 + index / 2 % 2 * 8, index / 4 * 8 + thread % 4 * 2 + index % 2};
}

}  // namespace mla::gpu
