// decode.h on compute capability 9.0a, 16-bit latents: a block of two warpgroups holds 64 query heads and goes through the pages of its split in pairs.
//   scores [64,64] = q [64,r+d_R] page^T     wgmma m64n64k16; each warpgroup those of one page of the pair
//   out [64,512] += weights page[:, :512]    wgmma m64n256k16; each warpgroup its half of the columns, of both pages
// One warpgroup's softmax runs beside the other's products: the second page's scores are made while the first page's become weights, which
// both warpgroups then multiply. The running maximum goes from page to page and from side to side through shared memory. Pages arrive by
// cp.async: a warpgroup copies the columns that it alone reads last, so that it may overwrite them without asking the other.
// Sums in fp32, weights in T. Shared memory: decode_wgmma_layout.h. Reference: decode_ref.cpp.
#include "core/cuda/kernels/decode_wgmma_layout.h"
#include "core/cuda/kernels/decode_work.h"
#include "core/cuda/kernels/launchers.h"
#include "core/cuda/kernels/reduce.h"

namespace mla::gpu {
namespace {

using Layout = WarpgroupLayout;
constexpr int kSideThreads = kWarpgroupThreads / 2;

// Barriers of both sides together but the last two, which are of one side each.
enum Meeting { kFirstPage = 1, kSecondPage, kFirstWeights, kSecondWeights, kOneSide };

// Side 0 has the first pages of the pairs and the left columns of the result, side 1 the second pages and the right columns.
template <class T, int kSide>
struct WarpgroupSide : HeadTile {
  static constexpr int kSteps = kSlabValues / 16, kSideSlabs = kLatentSlabs / 2, kSideValues = kSideSlabs * kSlabValues;

  const DecodeArgs& a;
  unsigned char* shared;
  SplitWork work;
  int thread, lane;   // of the side; of the warp
  bool known = true;  // every page so far is one of the cache

  uint64_t k_start, mn_start;                          // descriptors of shared memory's first slab
  uint32_t rope_query[kSteps][4], weights[kSteps][4];  // A fragments; weights of this side's page
  float score[32], out[128];                           // D of this side
  float largest[2], sum[2];                            // of rows lane/4 and lane/4 + 8 of the warp; scores times log2(e); sums of this side's pages

  __device__ __forceinline__ WarpgroupSide(const DecodeArgs& args, unsigned char* memory) : HeadTile(head_tile(args.shape, kWarpgroupRows)), a(args), shared(memory) {
    work = split_work(a, sequence, split);
    thread = static_cast<int>(threadIdx.x) % kSideThreads;
    lane = static_cast<int>(threadIdx.x % 32);
  }
  __device__ __forceinline__ int first_row() const { return d_element(thread, 0).row; }
  __device__ __forceinline__ float* maxima(int page) const { return reinterpret_cast<float*>(shared + Layout::maxima) + page * kWarpgroupRows + first_row(); }

  // ---- queries -----------------------------------------------------------------------------------------------------

  // Rows without heads, and values that r and d_R do not have, are zeros.
  __device__ __forceinline__ void load_queries() {
    const T* latent = static_cast<const T*>(a.q) + sequence * a.q_batch + first_head * a.q_head;
    for (int i = static_cast<int>(threadIdx.x); i < kWarpgroupRows * kLatentSlabs * kSlabPitch; i += kWarpgroupThreads) {
      const int row = i / (kLatentSlabs * kSlabPitch), chunk = i % (kLatentSlabs * kSlabPitch);
      const bool there = row < head_count && chunk * kChunk < a.shape.key_dim;
      const uint4 piece = there ? *reinterpret_cast<const uint4*>(latent + row * a.q_head + chunk * kChunk) : uint4{0, 0, 0, 0};
      store_shared(shared + Layout::queries + chunk / kSlabPitch * kSlabBytes + slab_byte(row, chunk % kSlabPitch), piece);
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int index = 0; index < 4; ++index) {
        const Element e = a_element(lane, index, 0);
        const int row = thread / 32 * 16 + e.row, dim = step * 16 + e.column;
        rope_query[step][index] = row < head_count && dim < a.shape.rope_dim ? *reinterpret_cast<const uint32_t*>(rope_query_at(row, dim)) : 0u;
      }
  }

  __device__ __forceinline__ const T* rope_query_at(int row, int dim) const {
    return static_cast<const T*>(a.q_rope) + sequence * a.q_rope_batch + (first_head + row) * a.q_rope_head + dim;
  }

  // ---- pages -------------------------------------------------------------------------------------------------------

  __device__ __forceinline__ int32_t page_of(int32_t n) const { return n < work.pages.end ? a.page_table[sequence * a.page_table_stride + n] : 0; }
  __device__ __forceinline__ static const unsigned char* bytes_of_page(const PagedRows& rows, int32_t page, int32_t group) {
    return static_cast<const unsigned char*>(rows.data) + (page * rows.page_stride + group * rows.group_stride) * 2;
  }

  // Begins to copy this side's columns of page n of the sequence, `page` of the cache: half of the latent's slabs, and on side 1 the rope
  // keys, which only scores read. Rows after the sequence's last, and a page that there is not, become zeros.
  __device__ __forceinline__ void load(int32_t n, int32_t page, int place) {
    if (n < work.pages.end) {
      const bool there = page >= 0 && page < a.page_count;
      known = known && there;
      const int32_t from = there ? page : 0, tokens = there ? work.length - n * static_cast<int32_t>(kPageTokens) : 0;
      unsigned char* to = shared + Layout::pages + static_cast<uint32_t>(place) * Layout::page;
      const unsigned char* latent = bytes_of_page(a.key, from, group);
      const int chunk = kSide * kSideSlabs * kSlabPitch + lane;  // 32 chunks are a row of this side
      const bool has_chunk = chunk * kChunk < a.shape.key_dim;
#pragma unroll 2
      for (int row = thread / 32; row < kSlabRows; row += kSideThreads / 32) {
        const bool valid = has_chunk && row < tokens;
        copy_async(to + chunk / kSlabPitch * kSlabBytes + slab_byte(row, chunk % kSlabPitch), latent + (valid ? row * a.key.row_stride * 2 + chunk * 16 : 0), valid);
      }
      if constexpr (kSide == 1) load_rope(to + kLatentSlabs * kSlabBytes, from, tokens);
    }
    commit_copies();
  }
  __device__ __forceinline__ void load_rope(unsigned char* slab, int32_t page, int32_t tokens) const {
    const int chunk = lane % kSlabPitch;
    const bool has_chunk = chunk * kChunk < a.shape.rope_dim;
    const unsigned char* rope = has_chunk ? bytes_of_page(a.rope, page, group) : static_cast<const unsigned char*>(a.key.data);
#pragma unroll 1
    for (int row = thread / kSlabPitch; row < kSlabRows; row += kSideThreads / kSlabPitch) {
      const bool valid = has_chunk && row < tokens;
      copy_async(slab + slab_byte(row, chunk), rope + (valid ? row * a.rope.row_stride * 2 + chunk * 16 : 0), valid);
    }
  }
  // This side's copies but the last kOpen are there, for products too.
  template <int kOpen>
  __device__ __forceinline__ void finish_copies() const {
    wait_copies<kOpen>();
    fence_async_proxy();
  }

  // ---- products ----------------------------------------------------------------------------------------------------

  // Of what begins at a byte of shared memory.
  __device__ __forceinline__ uint64_t k_major_at(uint32_t byte) const { return k_start + (byte >> 4); }
  __device__ __forceinline__ uint64_t mn_major_at(uint32_t byte) const { return mn_start + (byte >> 4); }

  __device__ __forceinline__ void begin_scores() {
    constexpr uint32_t kPage = Layout::pages + kSide * Layout::page;
    product_fence();
#pragma unroll
    for (int slab = 0; slab < kLatentSlabs; ++slab)
#pragma unroll
      for (int step = 0; step < kSteps; ++step)
        multiply_k_major<T>(score, k_major_at(Layout::queries) + k_major_step(slab, step), k_major_at(kPage) + k_major_step(slab, step), slab + step > 0);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) multiply_k_major<T>(score, rope_query[step], k_major_at(kPage) + k_major_step(kLatentSlabs, step), true);
    commit_products();
  }
  // out += weights of a page of the pair: this side's from registers, the other's from shared memory.
  template <int kPage>
  __device__ __forceinline__ void begin_values() {
    constexpr uint32_t kValues = Layout::pages + kPage * Layout::page + kSide * kSideSlabs * kSlabBytes, kWeights = Layout::weights + kPage * kSlabBytes;
    product_fence();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if constexpr (kPage == kSide) multiply_mn_major<T>(out, weights[step], mn_major_at(kValues) + mn_major_step(step));
      else multiply_mn_major<T>(out, k_major_at(kWeights) + k_major_step(0, step), mn_major_at(kValues) + mn_major_step(step));
    }
    commit_products();
  }
  __device__ __forceinline__ void finish_values() {
    wait_products<0>();
    take_results(out);
    barrier_sync(kOneSide + kSide, kSideThreads);  // no warp of this side reads its columns of the page any more
  }

  // ---- softmax -----------------------------------------------------------------------------------------------------

  // Scores of page n, scaled, capped, hidden outside of what the query sees; times log2(e). Rows' maxima among them.
  __device__ __forceinline__ void limit_scores(int32_t n, float (&higher)[2]) {
    const float factor = a.scale * kLog2E;
    if (a.softcap > 0) {
#pragma unroll
      for (int i = 0; i < 32; ++i) score[i] = a.softcap * kLog2E * tanhf(score[i] * a.scale / a.softcap);
    } else {
#pragma unroll
      for (int i = 0; i < 32; ++i) score[i] *= factor;
    }
    const int32_t first = n * static_cast<int32_t>(kPageTokens);
    if (first < work.first_token || first + static_cast<int32_t>(kPageTokens) > work.length) {
#pragma unroll
      for (int i = 0; i < 32; ++i) {
        const int32_t token = first + d_element(thread, i).column;
        if (token < work.first_token || token >= work.length) score[i] = -INFINITY;
      }
    }
#pragma unroll
    for (int i = 0; i < 32; ++i) higher[i / 2 % 2] = fmaxf(higher[i / 2 % 2], score[i]);
    for (int i = 0; i < 2; ++i) higher[i] = quad_max(higher[i]);
  }
  // The running maximum becomes `higher`; `factor`: of what was weighed against the one before.
  __device__ __forceinline__ void raise(const float (&higher)[2], float (&factor)[2]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      factor[i] = exp2_near(largest[i] - higher[i]);
      largest[i] = higher[i];
      sum[i] *= factor[i];
    }
  }
  // Weights of this side's page against the maximum that `raise` has set: to registers, and to shared memory for the other side.
  __device__ __forceinline__ void weigh() {
    unsigned char* slab = shared + Layout::weights + kSide * kSlabBytes;
#pragma unroll
    for (int i = 0; i < 32; ++i) sum[i / 2 % 2] += score[i] = exp2_near(score[i] - largest[i / 2 % 2]);
#pragma unroll
    for (int tile = 0; tile < 8; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t pair = packed<T>(score[4 * tile + 2 * half], score[4 * tile + 2 * half + 1]);
        weights[tile / 2][tile % 2 * 2 + half] = pair;
        store_shared(slab + slab_byte(first_row() + 8 * half, tile) + lane % 4 * 4, pair);
      }
    if (lane % 4 == 0)
      for (int i = 0; i < 2; ++i) maxima(kSide)[8 * i] = largest[i];
    fence_async_proxy();
  }
  __device__ __forceinline__ void rescale(const float (&factor)[2]) {
    if (all_lanes(factor[0] == 1.0f && factor[1] == 1.0f)) return;
#pragma unroll
    for (int i = 0; i < 128; ++i) out[i] *= factor[i / 2 % 2];
  }
  // The other side's page has moved the maximum.
  __device__ __forceinline__ void follow(int page) {
    const float higher[2] = {maxima(page)[0], maxima(page)[8]};
    float factor[2];
    raise(higher, factor);
    rescale(factor);
  }

  // ---- all of it ---------------------------------------------------------------------------------------------------

  __device__ __forceinline__ void start() {
    k_start = k_major(shared_address(shared));
    mn_start = mn_major(shared_address(shared));
    for (int i = 0; i < 2; ++i) {
      largest[i] = -INFINITY;
      sum[i] = 0;
    }
#pragma unroll
    for (int i = 0; i < 128; ++i) out[i] = 0;
    load(work.pages.first, page_of(work.pages.first), 0);
    load(work.pages.first + 1, page_of(work.pages.first + 1), 1);
    load_queries();
    finish_copies<1>();  // the first page's, and the queries
    __syncthreads();
  }

  // Of side 0: scores of pages first, first + 2, ...
  __device__ __forceinline__ void run_first() {
    for (int32_t n = work.pages.first; n < work.pages.end; n += 2) {
      const int32_t next = page_of(n + 2), after_next = page_of(n + 3);
      barrier_sync(kFirstPage, kWarpgroupThreads);
      begin_scores();
      finish_copies<0>();
      barrier_arrive(kSecondPage, kWarpgroupThreads);
      wait_products<0>();
      take_results(score);
      float higher[2] = {largest[0], largest[1]}, factor[2];
      limit_scores(n, higher);
      raise(higher, factor);
      weigh();
      barrier_arrive(kFirstWeights, kWarpgroupThreads);
      rescale(factor);
      begin_values<0>();
      finish_values();
      load(n + 2, next, 0);
      if (n + 1 == work.pages.end) break;
      barrier_sync(kSecondWeights, kWarpgroupThreads);
      follow(1);
      begin_values<1>();
      finish_copies<0>();
      finish_values();
      load(n + 3, after_next, 1);
    }
  }

  // Of side 1: scores of pages first + 1, first + 3, ...
  __device__ __forceinline__ void run_second() {
    int32_t n = work.pages.first;
    barrier_arrive(kFirstPage, kWarpgroupThreads);
    for (; n + 1 < work.pages.end; n += 2) {
      const int32_t next = page_of(n + 2), after_next = page_of(n + 3);
      finish_copies<0>();
      barrier_sync(kSecondPage, kWarpgroupThreads);
      begin_scores();
      barrier_sync(kFirstWeights, kWarpgroupThreads);
      follow(0);
      begin_values<0>();
      wait_products<1>();
      take_results(score);
      float higher[2] = {largest[0], largest[1]}, factor[2];
      limit_scores(n + 1, higher);
      raise(higher, factor);
      weigh();
      barrier_arrive(kSecondWeights, kWarpgroupThreads);
      finish_values();
      load(n + 2, next, 0);
      rescale(factor);
      begin_values<1>();
      finish_copies<0>();
      if (n + 2 < work.pages.end) barrier_arrive(kFirstPage, kWarpgroupThreads);
      finish_values();
      load(n + 3, after_next, 1);
    }
    if (n == work.pages.end) return;
    barrier_sync(kSecondPage, kWarpgroupThreads);  // there is none; side 0 comes for every page of its own
    barrier_sync(kFirstWeights, kWarpgroupThreads);
    follow(0);
    begin_values<0>();
    finish_values();
  }

  __device__ __forceinline__ void store() {
    float* sums = reinterpret_cast<float*>(shared + Layout::maxima);
    __syncthreads();  // the maxima have been read
    for (int i = 0; i < 2; ++i) {
      sum[i] = quad_sum(sum[i]);
      if (lane % 4 == 0) sums[kSide * kWarpgroupRows + first_row() + 8 * i] = sum[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = first_row() + 8 * i;
      if (row >= head_count) continue;
      const float total = known ? sums[row] + sums[kWarpgroupRows + row] : NAN;
      if (kSide == 0 && lane % 4 == 0) store_log_sum(first_head + row, kLn2 * (largest[i] + log2f(total)));
      store_row(i, first_head + row, 1.0f / total);
    }
  }
  __device__ __forceinline__ void store_log_sum(int32_t head, float log_sum) const {
    if (work.count > 1) *partial_log_sum(a, sequence, head, split) = log_sum;
    else if (a.log_sum != nullptr) a.log_sum[sequence * a.shape.heads + head] = log_sum;
  }
  __device__ __forceinline__ void store_row(int half, int32_t head, float factor) const {
#pragma unroll
    for (int i = 0; i < 128; i += 4) {
      const int column = kSide * kSideValues + d_element(thread, i).column;
      if (column >= a.shape.value_dim) continue;
      const float first = out[i + 2 * half] * factor, second = out[i + 2 * half + 1] * factor;
      if (work.count == 1) *reinterpret_cast<uint32_t*>(out_row<T>(a, sequence, head) + column) = packed<T>(first, second);
      else *reinterpret_cast<float2*>(partial_row(a, sequence, head, split) + column) = float2{first, second};
    }
  }
};

template <class T, int kSide>
__device__ __forceinline__ void run_side(const DecodeArgs& a) {
  WarpgroupSide<T, kSide> side(a, dynamic_slabs());
  if (side.work.count == 0 && side.split == 0) fill_rows<T>(a, side.sequence, side.first_head, side.head_count, side.work.broken);
  if (side.split >= side.work.count) return;
  side.start();
  if constexpr (kSide == 0) side.run_first();
  else side.run_second();
  side.store();
}

// grid (B * G * tiles of rows, max_splits), block kWarpgroupThreads
template <class T>
__global__ void __launch_bounds__(kWarpgroupThreads, 1) decode_wgmma_kernel(const __grid_constant__ DecodeArgs a) {
  if constexpr (kWarpgroups) {
    if (threadIdx.x < kSideThreads) run_side<T, 0>(a);
    else run_side<T, 1>(a);
  }
}

template <class T>
int start(const DecodeArgs& a, void* stream) {
  const Grid grid{static_cast<unsigned>(a.shape.batch * a.shape.groups * head_tiles(a.shape, kWarpgroupRows)), static_cast<unsigned>(a.plan.max_splits), 1};
  return launch(decode_wgmma_kernel<T>, grid, kWarpgroupThreads, static_cast<size_t>(a.plan.shared_bytes), stream, a);
}

}  // namespace

int launch_decode_wgmma(const DecodeArgs& a, void* stream) {
#ifdef MLAFORGE_NO_WARPGROUPS  // the module has no code for 9.0a, the kernel no body
  return 209;                  // cudaErrorNoKernelImageForDevice
#endif
  return a.shape.type == Type::bf16 ? start<Brain>(a, stream) : start<Half>(a, stream);
}

}  // namespace mla::gpu
