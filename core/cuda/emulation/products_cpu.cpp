#include "core/cuda/emulation/products_cpu.h"

#include <algorithm>
#include <array>
#include <deque>
#include <stdexcept>
#include <vector>

#include "core/cuda/emulation/block_state.h"
#include "core/cuda/emulation/machine_cpu.h"

namespace mla::gpu::emulation {
namespace {

constexpr std::size_t kLanes = 32, kDepth = 16;

// One warp's part of a product: 16 rows of A and D.
struct Product {
  std::array<ProductCall, kLanes> lanes;
  int warp;                  // of its warpgroup
  std::size_t first_thread;  // of the warp
};

struct WarpProducts {
  std::vector<Product> open;
  std::deque<std::vector<Product>> closed;
};

// What a thread's results held when products last wrote or a fence last saw them.
struct SeenRegisters {
  const float* d;
  int count;
  std::vector<float> values;
};
struct ThreadRegisters {
  bool fenced = false;  // since the last wait
  std::vector<SeenRegisters> seen;
};

Products when = Products::late;
std::vector<WarpProducts> warps;
std::vector<ThreadRegisters> threads;

bool same_bits(const float* x, const std::vector<float>& y) { return std::memcmp(x, y.data(), y.size() * sizeof(float)) == 0; }

void remember(std::vector<SeenRegisters>& seen, const float* d, int count) {
  for (SeenRegisters& one : seen)
    if (one.d == d) {
      one.count = count;
      one.values.assign(d, d + count);
      return;
    }
  seen.push_back({d, count, std::vector<float>(d, d + count)});
}

float wide(const ProductCall& call, uint16_t bits) { return call.half ? to_float(Half{bits}) : to_float(Brain{bits}); }

// Row `row` 0..15 of this warp's A. `at_once`: of registers, what they held when the product was asked for.
std::array<float, kDepth> row_of_a(const Product& product, int row, bool at_once) {
  std::array<float, kDepth> values{};
  const ProductCall& first = product.lanes[0];
  if (first.registers == nullptr) {
    const MatrixDescriptor matrix(first.a);
    for (std::size_t k = 0; k < kDepth; ++k) values[k] = wide(first, async_proxy().value(matrix.address(true, product.warp * 16 + row, static_cast<int>(k))));
    return values;
  }
  // "Multiplicand A": row = lane / 4, + 8 for a2, a3, a6, a7; column = lane % 4 * 2 + (i & 1), + 8 for i >= 4
  for (std::size_t k = 0; k < kDepth; ++k) {
    const std::size_t of_row = static_cast<std::size_t>(row), lane = of_row % 8 * 4 + k % 8 / 2, element = k % 2 + of_row / 8 * 2 + k / 8 * 4;
    const ProductCall& call = product.lanes[lane];
    const uint32_t pair = at_once ? call.a_values[element / 2] : call.registers[element / 2];
    values[k] = wide(first, static_cast<uint16_t>(pair >> element % 2 * 16));
  }
  return values;
}

void perform(Product& product, bool at_once) {
  const ProductCall& first = product.lanes[0];
  const MatrixDescriptor matrix(first.b);
  const auto columns = static_cast<std::size_t>(first.columns);
  std::vector<float> b(kDepth * columns), sums(columns);  // b [k, column]
  for (std::size_t k = 0; k < kDepth; ++k)
    for (std::size_t n = 0; n < columns; ++n) b[k * columns + n] = wide(first, async_proxy().value(matrix.address(!first.transposed, static_cast<int>(n), static_cast<int>(k))));
  // "Accumulator D": row = lane / 4, + 8 for i % 4 >= 2; column = i / 4 * 8 + lane % 4 * 2 + (i & 1)
  const auto place = [&](std::size_t row, std::size_t n) { return product.lanes[row % 8 * 4 + n % 8 / 2].d + n / 8 * 4 + row / 8 * 2 + n % 2; };
  for (std::size_t row = 0; row < 16; ++row) {
    const std::array<float, kDepth> a = row_of_a(product, static_cast<int>(row), at_once);
    for (std::size_t n = 0; n < columns; ++n) sums[n] = first.accumulate ? *place(row, n) : 0.0f;
    for (std::size_t k = 0; k < kDepth; ++k)
      for (std::size_t n = 0; n < columns; ++n) sums[n] += a[k] * b[k * columns + n];
    for (std::size_t n = 0; n < columns; ++n) *place(row, n) = sums[n];
  }
  for (std::size_t lane = 0; lane < kLanes; ++lane) remember(threads[product.first_thread + lane].seen, product.lanes[lane].d, first.columns / 2);
}

std::size_t warp_index() { return threadIdx.x / kLanes; }

void check_registers(const ProductCall& mine) {
  ThreadRegisters& thread = threads[threadIdx.x];
  if (!thread.fenced) throw std::logic_error("[emulation] a product without wgmma.fence after the last wait");
  for (const SeenRegisters& one : thread.seen)
    if (one.d == mine.d && !same_bits(one.d, one.values)) throw std::logic_error("[emulation] results of a product that changed after wgmma.fence");
}

}  // namespace

void set_products(Products at) { when = at; }

void reset_products(unsigned count) {
  warps.assign((count + kLanes - 1) / kLanes, {});
  threads.assign(count, {});
}

void begin_product(const ProductCall& mine) {
  check_registers(mine);
  const unsigned char* all = exchange(&mine, sizeof mine);
  if (lane_id() != 0) return;
  Product product{{}, static_cast<int>(warp_index() % 4), threadIdx.x};
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const auto call = lane_value<ProductCall>(all, static_cast<int>(lane));
    if (call.a != mine.a || call.b != mine.b || call.columns != mine.columns || call.transposed != mine.transposed || call.accumulate != mine.accumulate ||
        (call.registers == nullptr) != (mine.registers == nullptr))
      throw std::logic_error("[emulation] a product whose operands differ between the lanes of a warp");
    product.lanes[lane] = call;
  }
  if (when == Products::at_once) perform(product, true);
  warps[warp_index()].open.push_back(product);
}

void product_fence() {
  ThreadRegisters& thread = threads[threadIdx.x];
  thread.fenced = true;
  for (SeenRegisters& one : thread.seen) one.values.assign(one.d, one.d + one.count);
}

void close_products() {
  if (lane_id() != 0) return;
  WarpProducts& warp = warps[warp_index()];
  warp.closed.push_back(std::move(warp.open));
  warp.open.clear();
}

void await_products(int open) {
  warp_barrier();  // every lane has closed its groups, and none changes a register while products read them
  if (lane_id() == 0)
    for (std::deque<std::vector<Product>>& closed = warps[warp_index()].closed; static_cast<int>(closed.size()) > open; closed.pop_front())
      for (Product& product : closed.front())
        if (when == Products::late) perform(product, false);
  threads[threadIdx.x].fenced = false;
  warp_barrier();
}

void fence_async_proxy() { async_proxy().fence(threadIdx.x); }
uint32_t product_address(const void* shared) { return async_proxy().address(shared); }
void note_write(const void* shared, std::size_t size) { async_proxy().wrote(threadIdx.x, shared, size); }

}  // namespace mla::gpu::emulation
