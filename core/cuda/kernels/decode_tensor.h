// decode.h on tensor cores, 16-bit queries: a block holds 16, 32 or 64 query heads of one key group and reads each page of its split once.
//   scores [rows,64] = q [rows,r+d_R] page^T     mma.m16n8k16; q in registers (16, 32 rows) or in shared memory (64)
//   out [rows,r] = out * factor + exp2(scores - maximum) page[:, :r]      out in registers, columns divided over 8 warps
// Pages arrive by cp.async, the next ones while one is worked on; tiles are swizzled (fragments.h). Sums in fp32, weights in T. With codes
// (int8, int4) the copied bytes become values of T in a tile of their own. Shared memory: decode_layout.h. Reference: decode_ref.cpp.
#pragma once
#include "core/cuda/kernels/decode_pages.h"
#include "core/cuda/kernels/decode_work.h"
#include "core/cuda/kernels/reduce.h"

namespace mla::gpu {

template <class T, int kRows, int kWidth, Source kSource>
struct DecodeBlock : HeadTile {
  using Grid = ScoreGrid<kRows>;
  static constexpr bool kHeldQueries = Grid::dim_parts == 2;                          // in registers
  static constexpr int kDims = kWidth + (kSource == Source::keys_values ? 0 : kRopeRoom);  // of a key, at most
  static constexpr int kSteps = kDims / 16 / Grid::dim_parts;                         // of 16 dims, of a warp
  static constexpr int kUnits = kWidth / 16 / kDecodeWarps;                           // of 16 columns of the result, of a warp
  static constexpr int kSlot = kHeldQueries ? 16 : 8;                                 // bytes of a lane and score tile
  static constexpr bool kCodes = kSource == Source::codes;

  const DecodeArgs& a;
  DecodeLayout at;
  unsigned char* shared;
  SplitWork work;
  int warp, lane;
  bool known = true;  // every page so far is one of the cache

  uint32_t query[kHeldQueries ? kSteps : 1][4];
  float out[Grid::row_tiles][kUnits][2][4];
  float largest[2], sum[2];  // of rows lane/4 and lane/4 + 8 of this warp's row tile; scores times log2(e)

  __device__ __forceinline__ DecodeBlock(const DecodeArgs& args, unsigned char* memory) : a(args), at(decode_layout(args.shape, kRows, args.plan.stages)), shared(memory) {
    static_cast<HeadTile&>(*this) = head_tile(a.shape, kRows);
    work = split_work(a, sequence, split);
    warp = static_cast<int>(threadIdx.x / 32);
    lane = static_cast<int>(threadIdx.x % 32);
  }

  // ---- queries -----------------------------------------------------------------------------------------------------

  __device__ __forceinline__ const T* query_at(int row, int dim) const {
    if (dim < a.shape.key_dim) return static_cast<const T*>(a.q) + sequence * a.q_batch + (first_head + row) * a.q_head + dim;
    return static_cast<const T*>(a.q_rope) + sequence * a.q_rope_batch + (first_head + row) * a.q_rope_head + dim - a.shape.key_dim;
  }
  __device__ __forceinline__ int dims() const { return a.shape.key_dim + a.shape.rope_dim; }

  __device__ __forceinline__ void load_queries() {
    if constexpr (kHeldQueries) {
#pragma unroll
      for (int i = 0; i < kSteps; ++i)
#pragma unroll
        for (int index = 0; index < 4; ++index) {
          const Element e = a_element(lane, index, 0);
          const int row = Grid::row_tile(warp) * 16 + e.row, dim = (i * Grid::dim_parts + Grid::dim_part(warp)) * 16 + e.column;
          query[i][index] = row < head_count && dim < dims() ? *reinterpret_cast<const uint32_t*>(query_at(row, dim)) : 0u;
        }
    } else {
      uint4* tile = reinterpret_cast<uint4*>(shared + at.queries);
      const int pitch = tile_pitch(dims());
      each_piece(dims() / kChunk, [&](int row, int chunk) {
        tile[swizzled(row, chunk, pitch)] = row < head_count ? *reinterpret_cast<const uint4*>(query_at(row, chunk * kChunk)) : uint4{0, 0, 0, 0};
      });
    }
  }

  // ---- pages -------------------------------------------------------------------------------------------------------

  __device__ __forceinline__ PageCopies<T, kSource> pages() const { return {a, at, group}; }
  __device__ __forceinline__ int32_t page_of(int32_t n) const { return n < work.pages.end ? a.page_table[sequence * a.page_table_stride + n] : 0; }

  // Begins to copy page n of the sequence, `page` of the cache. Rows after the sequence's last, and a page that there is not, become zeros.
  __device__ __forceinline__ void load(int32_t n, int32_t page) {
    if (n < work.pages.end) {
      const bool there = page >= 0 && page < a.page_count;
      known = known && there;
      const int32_t from = there ? page : 0, left = work.length - n * static_cast<int32_t>(kPageTokens);
      const int tokens = there ? left : 0;
      unsigned char* stage = shared + at.stages + (n - work.pages.first) % a.plan.stages * at.stage;
      pages().copy(stage, from, tokens);
    }
    commit_copies();
  }

  // ---- scores ------------------------------------------------------------------------------------------------------

  __device__ __forceinline__ unsigned char* slot(int row_tile, int key_tile) const { return shared + at.scores + ((row_tile * kKeyTiles + key_tile) * 32 + lane) * kSlot; }

  // This warp's part of q page^T; `own`: the tiles that it finishes, summed over the parts of the products' length. kFull: widths are the
  // instance's own, and no step asks whether there is one.
  template <bool kFull>
  __device__ __forceinline__ void multiply_scores(const unsigned char* tile, float (&own)[Grid::own_tiles][4]) {
    float s[Grid::key_tiles][4] = {};
    const int pitch = kFull ? tile_pitch(kDims) : tile_pitch(dims()), steps = dims() / 16;
    const RowChunk from = b_address(lane), from_query = a_address(lane);
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      const int step = i * Grid::dim_parts + Grid::dim_part(warp);
      if (!kFull && step >= steps) break;
      uint32_t fragment[4];
      if constexpr (!kHeldQueries) load_matrices(fragment, shared + at.queries + swizzled(Grid::row_tile(warp) * 16 + from_query.row, 2 * step + from_query.chunk, pitch) * 16);
#pragma unroll
      for (int j = 0; j < Grid::key_tiles; j += 2) {
        uint32_t keys[4];
        load_matrices(keys, tile + swizzled((Grid::first_tile(warp) + j) * 8 + from.row, 2 * step + from.chunk, pitch) * 16);
        if constexpr (kHeldQueries) {
          multiply_add<T>(s[j], query[i], keys[0], keys[1]);
          multiply_add<T>(s[j + 1], query[i], keys[2], keys[3]);
        } else {
          multiply_add<T>(s[j], fragment, keys[0], keys[1]);
          multiply_add<T>(s[j + 1], fragment, keys[2], keys[3]);
        }
      }
    }
    if constexpr (Grid::dim_parts == 1) {
#pragma unroll
      for (int j = 0; j < Grid::own_tiles; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k) own[j][k] = s[j][k];
    } else {
      exchange_parts(s, own);
    }
  }
  // Each of the two warps gives the other's tiles away and adds what it gets to its own.
  __device__ __forceinline__ void exchange_parts(const float (&s)[Grid::key_tiles][4], float (&own)[Grid::own_tiles][4]) {
    constexpr int kOwn = Grid::key_tiles / 2;  // own_tiles, of two parts
    const bool lower = Grid::dim_part(warp) == 0;
    const int others = Grid::first_tile(warp) + (lower ? kOwn : 0);
#pragma unroll
    for (int j = 0; j < kOwn; ++j)
      *reinterpret_cast<float4*>(slot(Grid::row_tile(warp), others + j)) =
          lower ? float4{s[kOwn + j][0], s[kOwn + j][1], s[kOwn + j][2], s[kOwn + j][3]} : float4{s[j][0], s[j][1], s[j][2], s[j][3]};
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      const float4 more = *reinterpret_cast<const float4*>(slot(Grid::row_tile(warp), Grid::first_own(warp) + j));
      own[j][0] = (lower ? s[j][0] : s[kOwn + j][0]) + more.x;
      own[j][1] = (lower ? s[j][1] : s[kOwn + j][1]) + more.y;
      own[j][2] = (lower ? s[j][2] : s[kOwn + j][2]) + more.z;
      own[j][3] = (lower ? s[j][3] : s[kOwn + j][3]) + more.w;
    }
  }

  // Scaled, capped, hidden outside of what the query sees; times log2(e).
  __device__ __forceinline__ float limited(float product, int32_t token) const {
    float score = product * a.scale;
    if (a.softcap > 0) score = a.softcap * tanhf(score / a.softcap);
    return token >= work.first_token && token < work.length ? score * kLog2E : -INFINITY;
  }

  // Scores become weights against the new running maximum, and go to shared memory as A fragments.
  __device__ __forceinline__ void weigh(float (&own)[Grid::own_tiles][4], int32_t n) {
    float* maxima = reinterpret_cast<float*>(shared + at.maxima);
    const int row = Grid::row_tile(warp) * 16 + lane / 4;
    float higher[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int j = 0; j < Grid::own_tiles; ++j)
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        own[j][k] = limited(own[j][k], n * static_cast<int32_t>(kPageTokens) + (Grid::first_own(warp) + j) * 8 + c_element(lane, k).column);
        higher[k / 2] = fmaxf(higher[k / 2], own[j][k]);
      }
    for (int i = 0; i < 2; ++i) {
      higher[i] = quad_max(higher[i]);
      if (lane % 4 == 0) maxima[Grid::partial(warp) * kRows + row + 8 * i] = higher[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      higher[i] = largest[i];
#pragma unroll
      for (int part = 0; part < Grid::maxima; ++part) higher[i] = fmaxf(higher[i], maxima[part * kRows + row + 8 * i]);
      const float factor = exp2f(largest[i] - higher[i]);
      if (Grid::partial(warp) == 0 && lane % 4 == 0) reinterpret_cast<float*>(shared + at.factors)[row + 8 * i] = factor;
      largest[i] = higher[i];
      sum[i] *= factor;
    }
#pragma unroll
    for (int j = 0; j < Grid::own_tiles; ++j) {
#pragma unroll
      for (int k = 0; k < 4; ++k) sum[k / 2] += own[j][k] = exp2f(own[j][k] - largest[k / 2]);
      *reinterpret_cast<uint2*>(slot(Grid::row_tile(warp), Grid::first_own(warp) + j)) = uint2{packed<T>(own[j][0], own[j][1]), packed<T>(own[j][2], own[j][3])};
    }
    __syncthreads();
  }

  // ---- values ------------------------------------------------------------------------------------------------------

  __device__ __forceinline__ void rescale() {
    const float* factors = reinterpret_cast<const float*>(shared + at.factors);
    float factor[Grid::row_tiles][2];
    bool same = true;
#pragma unroll
    for (int rt = 0; rt < Grid::row_tiles; ++rt)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        factor[rt][i] = factors[rt * 16 + lane / 4 + 8 * i];
        same = same && factor[rt][i] == 1.0f;
      }
    if (all_lanes(same)) return;
#pragma unroll
    for (int rt = 0; rt < Grid::row_tiles; ++rt)
#pragma unroll
      for (int u = 0; u < kUnits; ++u)
#pragma unroll
        for (int k = 0; k < 8; ++k) out[rt][u][k / 4][k % 4] *= factor[rt][k % 4 / 2];
  }

  // The result's columns unit * 16 .. + 15, unit = u * 8 + warp.
  template <bool kFull>
  __device__ __forceinline__ void multiply_values(const unsigned char* tile, int pitch) {
    const RowChunk from = b_transposed_address(lane);
    const int units = a.shape.value_dim / 16;
#pragma unroll
    for (int block = 0; block < kPageTokens / 16; ++block) {
      uint32_t weights[Grid::row_tiles][4];
#pragma unroll
      for (int rt = 0; rt < Grid::row_tiles; ++rt) {
        const uint2 low = *reinterpret_cast<const uint2*>(slot(rt, 2 * block)), high = *reinterpret_cast<const uint2*>(slot(rt, 2 * block + 1));
        weights[rt][0] = low.x;
        weights[rt][1] = low.y;
        weights[rt][2] = high.x;
        weights[rt][3] = high.y;
      }
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        const int unit = u * kDecodeWarps + warp;
        if (!kFull && unit >= units) break;
        uint32_t values[4];
        load_matrices_transposed(values, tile + swizzled(block * 16 + from.row, 2 * unit + from.chunk, pitch) * 16);
#pragma unroll
        for (int rt = 0; rt < Grid::row_tiles; ++rt) {
          multiply_add<T>(out[rt][u][0], weights[rt], values[0], values[1]);
          multiply_add<T>(out[rt][u][1], weights[rt], values[2], values[3]);
        }
      }
    }
  }

  // ---- all of it ---------------------------------------------------------------------------------------------------

  // Until page n's copies, this thread's, are done: as many groups as pages that were begun after it may be open.
  __device__ __forceinline__ void wait_for_page() const {
    const int later = kCodes ? a.plan.stages - 1 : a.plan.stages - 2;
    if (later >= 2) wait_copies<2>();
    else if (later == 1) wait_copies<1>();
    else wait_copies<0>();
  }

  template <bool kFull>
  __device__ __forceinline__ void work_on(int32_t n, const unsigned char* tile) {
    float own[Grid::own_tiles][4];
    multiply_scores<kFull>(tile, own);
    weigh(own, n);
    rescale();
    if constexpr (kSource == Source::keys_values) multiply_values<kFull>(tile + at.key_tile, kFull ? tile_pitch(kWidth) : tile_pitch(a.shape.value_dim));
    else multiply_values<kFull>(tile, kFull ? tile_pitch(kDims) : tile_pitch(dims()));
  }

  __device__ __forceinline__ void run() {
    for (int i = 0; i < 2; ++i) {
      largest[i] = -INFINITY;
      sum[i] = 0;
    }
#pragma unroll
    for (int rt = 0; rt < Grid::row_tiles; ++rt)
#pragma unroll
      for (int u = 0; u < kUnits; ++u)
#pragma unroll
        for (int k = 0; k < 8; ++k) out[rt][u][k / 4][k % 4] = 0;
    const int ahead = kCodes ? a.plan.stages : a.plan.stages - 1;  // pages begun before the first is worked on
    for (int i = 0; i < ahead; ++i) load(work.pages.first + i, page_of(work.pages.first + i));
    load_queries();
    int32_t upcoming = page_of(work.pages.first + ahead);
    const bool full = dims() == kDims && a.shape.value_dim == kWidth;
    for (int32_t n = work.pages.first; n < work.pages.end; ++n) {
      unsigned char* stage = shared + at.stages + (n - work.pages.first) % a.plan.stages * at.stage;
      const unsigned char* tile = stage;
      if (!kCodes && ahead == 0) {  // room for one page alone
        __syncthreads();
        load(n, upcoming);
        upcoming = page_of(n + 1);
      }
      wait_for_page();
      __syncthreads();  // the page is whole, and nobody reads the one before
      if constexpr (kCodes) {
        pages().expand(stage, shared + at.tiles);
        tile = shared + at.tiles;
        __syncthreads();  // the tile is whole, the stage free
      }
      if (kCodes || ahead > 0) {
        load(n + ahead, upcoming);
        upcoming = page_of(n + ahead + 1);
      }
      if (full) work_on<true>(n, tile);
      else work_on<false>(n, tile);
    }
    wait_copies<0>();
  }

  __device__ __forceinline__ void store() {
    float* sums = reinterpret_cast<float*>(shared + at.maxima);
    const int row = Grid::row_tile(warp) * 16 + lane / 4;
    for (int i = 0; i < 2; ++i) {
      sum[i] = quad_sum(sum[i]);
      if (lane % 4 == 0) sums[Grid::partial(warp) * kRows + row + 8 * i] = sum[i];
    }
    __syncthreads();
    const auto total = [&](int of_row) {
      float all = 0;
      for (int part = 0; part < Grid::maxima; ++part) all += sums[part * kRows + of_row];
      return known ? all : NAN;
    };
    for (int i = 0; i < 2; ++i)
      if (Grid::partial(warp) == 0 && lane % 4 == 0 && row + 8 * i < head_count) store_log_sum(first_head + row + 8 * i, kLn2 * (largest[i] + log2f(total(row + 8 * i))));
#pragma unroll
    for (int rt = 0; rt < Grid::row_tiles; ++rt)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int of_row = rt * 16 + lane / 4 + 8 * i;
        if (of_row < head_count) store_row(rt, i, first_head + of_row, 1.0f / total(of_row));
      }
  }
  __device__ __forceinline__ void store_log_sum(int32_t head, float log_sum) const {
    if (work.count > 1) *partial_log_sum(a, sequence, head, split) = log_sum;
    else if (a.log_sum != nullptr) a.log_sum[sequence * a.shape.heads + head] = log_sum;
  }
  __device__ __forceinline__ void store_row(int rt, int i, int32_t head, float factor) const {
#pragma unroll
    for (int u = 0; u < kUnits; ++u)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int column = (u * kDecodeWarps + warp) * 16 + half * 8 + lane % 4 * 2;
        if (column >= a.shape.value_dim) continue;
        const float first = out[rt][u][half][2 * i] * factor, second = out[rt][u][half][2 * i + 1] * factor;
        if (work.count == 1) *reinterpret_cast<uint32_t*>(out_row<T>(a, sequence, head) + column) = packed<T>(first, second);
        else *reinterpret_cast<float2*>(partial_row(a, sequence, head, split) + column) = float2{first, second};
      }
  }
};

// grid (B * G * tiles of rows, max_splits), block kDecodeThreads
template <class T, int kRows, int kWidth, Source kSource>
__global__ void __launch_bounds__(kDecodeThreads, kWidth == kNarrowValues ? 2 : 1) decode_tensor_kernel(const __grid_constant__ DecodeArgs a) {
  DecodeBlock<T, kRows, kWidth, kSource> block(a, dynamic_shared());
  if (block.work.count == 0 && block.split == 0) fill_rows<T>(a, block.sequence, block.first_head, block.head_count, block.work.broken);
  if (block.split >= block.work.count) return;
  block.run();
  block.store();
}

// ---- launcher ------------------------------------------------------------------------------------------------------

template <class T, int kRows, int kWidth, Source kSource>
int start_decode_tensor(const DecodeArgs& a, void* stream) {
  const mla::gpu::Grid grid{static_cast<unsigned>(a.shape.batch * a.shape.groups * head_tiles(a.shape, kRows)), static_cast<unsigned>(a.plan.max_splits), 1};
  return launch(decode_tensor_kernel<T, kRows, kWidth, kSource>, grid, kDecodeThreads, static_cast<size_t>(a.plan.shared_bytes), stream, a);
}

template <class T, int kWidth>
int start_decode_latent(const DecodeArgs& a, void* stream) {
  if (is_quantised(a.shape.kind)) {
    if (a.plan.rows == 16) return start_decode_tensor<T, 16, kWidth, Source::codes>(a, stream);
    return start_decode_tensor<T, 32, kWidth, Source::codes>(a, stream);
  }
  if (a.plan.rows == 16) return start_decode_tensor<T, 16, kWidth, Source::latent>(a, stream);
  if (a.plan.rows == 32) return start_decode_tensor<T, 32, kWidth, Source::latent>(a, stream);
  return start_decode_tensor<T, 64, kWidth, Source::latent>(a, stream);
}

template <class T>
int start_decode(const DecodeArgs& a, void* stream) {
  if (!a.shape.values_are_keys) return start_decode_tensor<T, 16, kNarrowValues, Source::keys_values>(a, stream);
  return a.shape.value_dim <= kNarrowValues ? start_decode_latent<T, kNarrowValues>(a, stream) : start_decode_latent<T, kWideValues>(a, stream);
}

}  // namespace mla::gpu
