// The machine of kernels/machine.h on a CPU, for tests: a block's threads are fibers of one thread, which take turns at barriers and
// where lanes exchange values. Asynchronous copies happen as late as the kernel's waits allow; the order of the fibers can be turned round
// or drawn, so that a missing barrier shows. Shared memory starts as NaNs.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#include "core/cuda/emulation/products_cpu.h"
#include "core/cuda/kernels/fragments.h"

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)

namespace mla::gpu {

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};
inline Index3 threadIdx, blockIdx, blockDim, gridDim;  // of the fiber that runs

struct float2 {
  float x, y;
};
struct __align__(16) float4 {
  float x, y, z, w;
};
struct uint2 {
  uint32_t x, y;
};
struct __align__(16) uint4 {
  uint32_t x, y, z, w;
};

namespace emulation {

// Turns in rounds, forwards, backwards or drawn; or of all threads that can run always the first or the last, so that some are far ahead.
enum class Order { forward, backward, drawn, first_ahead, last_ahead };
void set_order(Order order, uint64_t seed = 0);

// Runs body() once per thread. Throws std::logic_error when some threads wait at a barrier that the others never reach.
void run_block(unsigned threads, std::size_t shared_bytes, const std::function<void()>& body);

unsigned char* shared_memory();
void block_barrier();
// One of sixteen barriers that `threads` of the block come to. Throws std::logic_error when a thread comes twice before all have come.
void named_barrier(unsigned id, unsigned threads, bool wait);
// Gives `size` (at most 64) bytes to the other lanes of the warp; returns all lanes' bytes, lane i's at 64 i, until the next call but one.
const unsigned char* exchange(const void* mine, std::size_t size);
void begin_copy(void* to, const void* from, std::size_t size, bool valid);
void close_copies();
void await_copies(std::size_t open);

template <class T>
T lane_value(const unsigned char* all, int lane) {
  T value;
  std::memcpy(&value, all + 64 * lane, sizeof value);
  return value;
}

}  // namespace emulation

inline int lane_id() { return static_cast<int>(threadIdx.x % 32); }
inline void __syncthreads() { emulation::block_barrier(); }
template <class T>
inline T shuffle_xor(T x, int distance) {
  return emulation::lane_value<T>(emulation::exchange(&x, sizeof x), lane_id() ^ distance);
}
inline bool all_lanes(bool x) {
  const unsigned char* all = emulation::exchange(&x, sizeof x);
  for (int lane = 0; lane < 32; ++lane)
    if (!emulation::lane_value<bool>(all, lane)) return false;
  return true;
}
inline int atomicAdd(int* at, int more) {
  const int before = *at;
  *at += more;
  return before;
}
inline unsigned char* dynamic_shared() { return emulation::shared_memory(); }
inline unsigned char* dynamic_slabs() { return emulation::shared_memory(); }
inline void copy_async(void* to, const void* from, bool valid) { emulation::begin_copy(to, from, 16, valid); }
inline void copy_async_word(void* to, const void* from, bool valid) { emulation::begin_copy(to, from, 4, valid); }
inline void commit_copies() { emulation::close_copies(); }
template <int kOpen>
inline void wait_copies() {
  emulation::await_copies(kOpen);
}

// Row i % 8 of matrix i / 8 is at lane i's address; a lane gets two elements in succession of row lane / 4, or of column lane / 4.
inline void load_eights(uint32_t (&r)[4], const void* row, bool transposed) {
  const unsigned char* all = emulation::exchange(&row, sizeof row);
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t pair[2];
    for (int half = 0; half < 2; ++half) {
      const int along = lane_id() % 4 * 2 + half, across = lane_id() / 4;
      const int line = transposed ? along : across, place = transposed ? across : along;
      std::memcpy(&pair[half], emulation::lane_value<const unsigned char*>(all, matrix * 8 + line) + 2 * place, 2);
    }
    r[matrix] = static_cast<uint32_t>(pair[0]) | static_cast<uint32_t>(pair[1]) << 16;
  }
}
inline void load_matrices(uint32_t (&r)[4], const void* row) { load_eights(r, row, false); }
inline void load_matrices_transposed(uint32_t (&r)[4], const void* row) { load_eights(r, row, true); }

template <class T>
inline uint32_t packed(float first, float second) {
  return static_cast<uint32_t>(from_float<T>(first).bits) | static_cast<uint32_t>(from_float<T>(second).bits) << 16;
}

template <class T>
inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  struct Operands {
    uint32_t a[4], b[2];
  } mine{{a[0], a[1], a[2], a[3]}, {b0, b1}};
  const unsigned char* all = emulation::exchange(&mine, sizeof mine);
  const auto half_of = [](uint32_t pair, int half) { return to_float(T{static_cast<uint16_t>(pair >> 16 * half)}); };
  float rows[2][16], columns[2][16];  // of A: this lane's two; of B: its two
  for (int part = 0; part < 4; ++part)
    for (int half = 0; half < 2; ++half) {
      const int row_lane = lane_id() / 4 * 4 + part;
      const auto from_row = emulation::lane_value<Operands>(all, row_lane);
      for (int index = 0; index < 4; ++index) rows[index % 2][a_element(row_lane, index, half).column] = half_of(from_row.a[index], half);
      for (int n = 0; n < 2; ++n) {
        const int column_lane = (lane_id() % 4 * 2 + n) * 4 + part;
        const auto from_column = emulation::lane_value<Operands>(all, column_lane);
        for (int index = 0; index < 2; ++index) columns[n][b_element(column_lane, index, half).row] = half_of(from_column.b[index], half);
      }
    }
  for (int index = 0; index < 4; ++index)
    for (int k = 0; k < 16; ++k) c[index] += rows[index / 2][k] * columns[index % 2][k];
}

// ---- warpgroups ----------------------------------------------------------------------------------------------------

constexpr bool kWarpgroups = true;

inline float exp2_near(float x) { return exp2f(x); }
inline void barrier_sync(int id, int threads) { emulation::named_barrier(static_cast<unsigned>(id), static_cast<unsigned>(threads), true); }
inline void barrier_arrive(int id, int threads) { emulation::named_barrier(static_cast<unsigned>(id), static_cast<unsigned>(threads), false); }
inline uint32_t shared_address(const void* p) { return emulation::product_address(p); }
template <class V>
inline void store_shared(void* to, V value) {
  std::memcpy(to, &value, sizeof value);
  emulation::note_write(to, sizeof value);
}
inline void fence_async_proxy() { emulation::fence_async_proxy(); }
inline void product_fence() { emulation::product_fence(); }
inline void commit_products() { emulation::close_products(); }
template <int kOpen>
inline void wait_products() {
  emulation::await_products(kOpen);
}
template <int kCount>
inline void take_results(float (&)[kCount]) {}

template <class T>
inline void multiply_k_major(float (&d)[32], uint64_t a, uint64_t b, bool accumulate) {
  emulation::begin_product({d, nullptr, {}, a, b, 64, false, accumulate, type_of<T>() == Type::fp16});
}
template <class T>
inline void multiply_k_major(float (&d)[32], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  emulation::begin_product({d, a, {a[0], a[1], a[2], a[3]}, 0, b, 64, false, accumulate, type_of<T>() == Type::fp16});
}
template <class T>
inline void multiply_mn_major(float (&d)[128], uint64_t a, uint64_t b) {
  emulation::begin_product({d, nullptr, {}, a, b, 256, true, true, type_of<T>() == Type::fp16});
}
template <class T>
inline void multiply_mn_major(float (&d)[128], const uint32_t (&a)[4], uint64_t b) {
  emulation::begin_product({d, a, {a[0], a[1], a[2], a[3]}, 0, b, 256, true, true, type_of<T>() == Type::fp16});
}

struct Grid {
  unsigned x = 1, y = 1, z = 1;
  bool empty() const { return x == 0 || y == 0 || z == 0; }
};
template <class Parameters>
int launch(void (*kernel)(Parameters), Grid grid, unsigned threads, std::size_t shared_bytes, void*, const Parameters& parameters) {
  gridDim = {grid.x, grid.y, grid.z};
  blockDim = {threads, 1, 1};
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        emulation::run_block(threads, shared_bytes, [&] { kernel(parameters); });
      }
  return 0;
}

}  // namespace mla::gpu
