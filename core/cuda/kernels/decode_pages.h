// How pages of a cache reach the tensor-core decode kernel's shared memory: by cp.async into a stage, swizzled tiles as they are, or
// quantised rows as bytes, which expand() makes a tile of.
#pragma once
#include "core/cuda/kernels/decode_layout.h"
#include "core/cuda/kernels/machine.h"

namespace mla::gpu {

enum class Source { latent, keys_values, codes };  // of a page: one tile; keys and values by themselves; quantised latent

// f(row, piece) for the 64 rows of a page and `count` pieces of a row, divided over the block.
template <class F>
__device__ __forceinline__ void each_piece(int count, const F& f) {
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int span = count <= 8 ? 8 : count <= 16 ? 16 : 32, rows = 32 / span;
  for (int row = warp * rows + lane / span; row < kPageTokens; row += kDecodeWarps * rows)
    for (int piece = lane % span; piece < count; piece += span) f(row, piece);
}

template <class T, Source kSource>
struct PageCopies {
  const DecodeArgs& a;
  const DecodeLayout& at;
  int32_t group;

  __device__ __forceinline__ int dims() const { return a.shape.key_dim + a.shape.rope_dim; }

  // Begins to copy `page` into a stage; rows from `tokens` on become zeros.
  __device__ __forceinline__ void copy(unsigned char* stage, int32_t page, int tokens) const {
    if constexpr (kSource == Source::codes) load_codes(stage, page, tokens);
    else load_values(stage, page, tokens);
  }

  __device__ __forceinline__ void load_values(unsigned char* stage, int32_t page, int tokens) const {
    const int pitch = tile_pitch(dims()), chunks = a.shape.key_dim / kChunk;
    copy_tile(stage, pitch, 0, a.key, page, chunks, tokens);
    if (a.shape.rope_dim > 0) copy_tile(stage, pitch, chunks, a.rope, page, a.shape.rope_dim / kChunk, tokens);
    if constexpr (kSource == Source::keys_values) copy_tile(stage + at.key_tile, tile_pitch(a.shape.value_dim), 0, a.value, page, a.shape.value_dim / kChunk, tokens);
  }
  __device__ __forceinline__ void load_codes(unsigned char* stage, int32_t page, int tokens) const {
    const int64_t half_bytes = a.shape.kind == CacheKind::int8 ? 2 : 1;
    copy_rows(stage, a.key, page, half_bytes, static_cast<int>(a.shape.key_dim * half_bytes / 32), tokens);
    if (a.shape.rope_dim > 0) copy_rows(stage + at.key_codes, a.rope, page, 4, a.shape.rope_dim / kChunk, tokens);
    const unsigned char* affine = bytes_at(a.affine, page, group, 4);
    const int groups = quant_groups();
    each_piece(groups, [&](int row, int piece) {
      const bool valid = row < tokens;
      copy_async_word(stage + at.key_codes + at.rope_rows + (row * groups + piece) * 4, affine + (valid ? row * a.affine.row_stride * 2 + piece * 4 : 0), valid);
    });
  }
  __device__ __forceinline__ int quant_groups() const { return (a.shape.key_dim + a.shape.quant_group - 1) / a.shape.quant_group; }

  // The codes of a stage become a tile.
  __device__ __forceinline__ void expand(const unsigned char* stage, unsigned char* tile_bytes) const {
    uint4* tile = reinterpret_cast<uint4*>(tile_bytes);
    const int pitch = tile_pitch(dims()), chunks = a.shape.key_dim / kChunk, rope_chunks = a.shape.rope_dim / kChunk, groups = quant_groups();
    const uint32_t inverse = inverse_of(static_cast<uint32_t>(a.shape.quant_group / kChunk));
    const unsigned char* affine = stage + at.key_codes + at.rope_rows;
    const bool wide = a.shape.kind == CacheKind::int8;
    each_piece(chunks, [&](int row, int chunk) {
      const int place = row * chunks + chunk, piece = static_cast<int>(quotient(static_cast<uint32_t>(chunk), inverse));
      const uint32_t pair = *reinterpret_cast<const uint32_t*>(affine + (row * groups + piece) * 4);
      const float scale = to_float(Half{static_cast<uint16_t>(pair)}), minimum = to_float(Half{static_cast<uint16_t>(pair >> 16)});
      uint2 bytes;
      if (wide) bytes = *reinterpret_cast<const uint2*>(stage + place * 8);
      else bytes = spread_nibbles(*reinterpret_cast<const uint32_t*>(stage + place * 4));
      const auto value = [&](uint32_t four, int i) { return static_cast<float>(four >> 8 * i & 255u) * scale + minimum; };
      tile[swizzled(row, chunk, pitch)] = uint4{packed<T>(value(bytes.x, 0), value(bytes.x, 1)), packed<T>(value(bytes.x, 2), value(bytes.x, 3)),
                                                packed<T>(value(bytes.y, 0), value(bytes.y, 1)), packed<T>(value(bytes.y, 2), value(bytes.y, 3))};
    });
    const uint4* rope = reinterpret_cast<const uint4*>(stage + at.key_codes);
    if (rope_chunks > 0) each_piece(rope_chunks, [&](int row, int chunk) { tile[swizzled(row, chunks + chunk, pitch)] = rope[row * rope_chunks + chunk]; });
  }
  // Eight codes of four bits, the first in the lowest, one in a byte each.
  __device__ __forceinline__ static uint2 spread_nibbles(uint32_t codes) {
    const auto four = [](uint32_t low) { return (low & 0xfu) | (low & 0xf0u) << 4 | (low & 0xf00u) << 8 | (low & 0xf000u) << 12; };
    return {four(codes & 0xffffu), four(codes >> 16)};
  }

  __device__ __forceinline__ static const unsigned char* bytes_at(const PagedRows& rows, int32_t page, int32_t group, int64_t half_bytes) {
    return static_cast<const unsigned char*>(rows.data) + (page * rows.page_stride + group * rows.group_stride) * half_bytes / 2;
  }
  // Chunks of a row of 16-bit values into a tile, from chunk `first` on.
  __device__ __forceinline__ void copy_tile(unsigned char* tile, int pitch, int first, const PagedRows& rows, int32_t page, int chunks, int tokens) const {
    const unsigned char* from = bytes_at(rows, page, group, 4);
    const int64_t row_bytes_ = rows.row_stride * 2;
    each_piece(chunks, [&](int row, int chunk) {
      const bool valid = row < tokens;
      copy_async(tile + swizzled(row, first + chunk, pitch) * 16, from + (valid ? row * row_bytes_ + chunk * 16 : 0), valid);
    });
  }
  // Rows as they are, one after another.
  __device__ __forceinline__ void copy_rows(unsigned char* to, const PagedRows& rows, int32_t page, int64_t half_bytes, int chunks, int tokens) const {
    const unsigned char* from = bytes_at(rows, page, group, half_bytes);
    const int64_t row_bytes_ = rows.row_stride * half_bytes / 2;
    each_piece(chunks, [&](int row, int chunk) {
      const bool valid = row < tokens;
      copy_async(to + (row * chunks + chunk) * 16, from + (valid ? row * row_bytes_ + chunk * 16 : 0), valid);
    });
  }
};

}  // namespace mla::gpu
