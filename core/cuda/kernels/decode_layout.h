// Shared memory of the tensor-core decode kernel, which plan and kernel agree on.
#pragma once
#include "core/cuda/decode.h"
#include "core/cuda/kernels/fragments.h"

namespace mla::gpu {

constexpr int kDecodeWarps = 8, kDecodeThreads = 32 * kDecodeWarps, kKeyTiles = 8;  // a page's scores: 8 tiles of 8 keys

// Which part of a page's scores [rows, 64] a warp makes: one tile of 16 rows, 64/key_parts keys, 1/dim_parts of the products' length;
// the sums of the parts are then exchanged and each of them finishes own_tiles of the key tiles.
template <int kRows>
struct ScoreGrid {
  static_assert(kRows == 16 || kRows == 32 || kRows == 64);
  static constexpr int row_tiles = kRows / 16;
  static constexpr int dim_parts = kRows == 64 ? 1 : 2;
  static constexpr int key_parts = kDecodeWarps / row_tiles / dim_parts;
  static constexpr int key_tiles = kKeyTiles / key_parts;
  static constexpr int own_tiles = key_tiles / dim_parts;
  static constexpr int maxima = key_parts * dim_parts;  // warps that know a part of a row

  static constexpr int row_tile(int warp) { return warp % row_tiles; }
  static constexpr int key_part(int warp) { return warp / row_tiles % key_parts; }
  static constexpr int dim_part(int warp) { return warp / row_tiles / key_parts; }
  static constexpr int first_tile(int warp) { return key_part(warp) * key_tiles; }                              // it multiplies
  static constexpr int first_own(int warp) { return first_tile(warp) + dim_part(warp) * own_tiles; }            // it finishes
  static constexpr int partial(int warp) { return key_part(warp) * dim_parts + dim_part(warp); }                // below maxima
};

// Offsets in bytes; every region starts at a multiple of 16, tiles at a multiple of 128.
struct DecodeLayout {
  int64_t key_tile = 0, value_tile = 0;       // of one page in 16-bit values; value_tile 0 where values are keys
  int64_t key_codes = 0, value_codes = 0;     // of one page of quantised rows as they are copied
  int64_t affine = 0, value_affine = 0;       // of one page's scales and minima
  int64_t rope_rows = 0;                      // of one page's rope keys, beside codes
  int64_t stage = 0;                          // bytes of one page in flight
  int64_t scores = 0, stages = 0, tiles = 0, queries = 0, maxima = 0, factors = 0, total = 0;  // offsets; tiles: where codes become values
};

MLA_HOST_DEVICE constexpr int64_t aligned(int64_t bytes, int64_t to) { return (bytes + to - 1) / to * to; }

MLA_HOST_DEVICE constexpr DecodeLayout decode_layout(const DecodeShape& s, int rows, int stages) {
  DecodeLayout at;
  at.key_tile = kPageTokens * tile_pitch(s.key_dim + s.rope_dim) * 16;
  at.value_tile = s.values_are_keys ? 0 : kPageTokens * tile_pitch(s.value_dim) * 16;
  const bool quantised = is_quantised(s.kind);
  if (quantised) {
    const int64_t groups = (s.key_dim + s.quant_group - 1) / s.quant_group, value_groups = (s.value_dim + s.quant_group - 1) / s.quant_group;
    at.key_codes = kPageTokens * row_bytes(s.kind, s.key_dim);
    at.value_codes = s.values_are_keys ? 0 : kPageTokens * row_bytes(s.kind, s.value_dim);
    at.rope_rows = kPageTokens * s.rope_dim * 2;
    at.affine = aligned(kPageTokens * groups * 4, 16);
    at.value_affine = s.values_are_keys ? 0 : aligned(kPageTokens * value_groups * 4, 16);
    at.stage = aligned(at.key_codes + at.value_codes + at.rope_rows + at.affine + at.value_affine, 128);
  } else {
    at.stage = at.key_tile + at.value_tile;
  }
  const int row_tiles = rows / 16, maxima = kDecodeWarps / row_tiles;
  at.stages = 0;
  at.tiles = at.stages + stages * at.stage;
  at.queries = at.tiles + (quantised ? at.key_tile + at.value_tile : 0);
  at.scores = at.queries + (rows == 64 ? rows * tile_pitch(s.key_dim + s.rope_dim) * 16 : 0);
  at.maxima = at.scores + row_tiles * kKeyTiles * 32 * (rows == 64 ? 8 : 16);
  at.factors = at.maxima + maxima * rows * 4;
  at.total = at.factors + rows * 4;
  return at;
}

// Widest value row of a kernel instance, and the room that its products' length leaves for rope dims.
constexpr int kNarrowValues = 128, kWideValues = 512, kRopeRoom = 64;

}  // namespace mla::gpu
