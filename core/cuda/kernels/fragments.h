// Which element of a matrix a lane's register holds in mma.sync.m16n8k16 with 16-bit operands (PTX ISA, "Matrix Fragments for
// mma.m16n8k16 with floating point type"), and where a 16-byte chunk of a row lies in a swizzled tile.
//   A [16,16] 4 registers of two elements   B [16,8] 2 registers of two   C, D [16,8] 4 registers of one
#pragma once
#include "core/cuda/numbers.h"

namespace mla::gpu {

struct Element {
  int row, column;
};

// Element `half` (0, 1) of register `index` of A: rows are of A, columns run over k.
MLA_HOST_DEVICE constexpr Element a_element(int lane, int index, int half) {
  return {lane / 4 + (index % 2) * 8, (lane % 4) * 2 + half + (index / 2) * 8};
}
// Of B: rows run over k.
MLA_HOST_DEVICE constexpr Element b_element(int lane, int index, int half) { return {(lane % 4) * 2 + half + index * 8, lane / 4}; }
MLA_HOST_DEVICE constexpr Element c_element(int lane, int index) { return {lane / 4 + (index / 2) * 8, (lane % 4) * 2 + index % 2}; }

constexpr int kChunk = 8;  // 16-bit values in the 16 bytes that one lane copies

// Tiles have rows of a multiple of eight chunks. Chunk c of row r lies at c ^ (r % 8): eight rows' equal chunks, which ldmatrix reads
// together, fall into eight different groups of four banks.
MLA_HOST_DEVICE constexpr int swizzled(int row, int chunk, int pitch) { return row * pitch + (chunk ^ (row & 7)); }
// Chunks of a row of `values` 16-bit values, rounded up to what swizzled() wants.
MLA_HOST_DEVICE constexpr int tile_pitch(int values) { return (values + 63) / 64 * 8; }

// Which row of a tile lane i names to load_matrices, and which chunk, counted from the operand's first.
struct RowChunk {
  int row, chunk;
};
MLA_HOST_DEVICE constexpr RowChunk a_address(int lane) { return {lane % 16, lane / 16}; }                          // A [16,16] from rows
MLA_HOST_DEVICE constexpr RowChunk b_address(int lane) { return {lane / 16 * 8 + lane % 8, lane / 8 % 2}; }         // two B from rows of k: [n=16, k=16]
MLA_HOST_DEVICE constexpr RowChunk b_transposed_address(int lane) { return {lane % 16, lane / 16}; }                // two B from rows of n: [k=16, n=16]

// n / divisor of small n (below 128 and divisor up to 512) by a product: inverse = inverse_of(divisor).
MLA_HOST_DEVICE constexpr uint32_t inverse_of(uint32_t divisor) { return 65536 / divisor + 1; }
MLA_HOST_DEVICE constexpr uint32_t quotient(uint32_t n, uint32_t inverse) { return n * inverse >> 16; }

}  // namespace mla::gpu
