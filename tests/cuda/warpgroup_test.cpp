#include "core/cuda/kernels/warpgroup_layout.h"

#include <set>
#include <stdexcept>
#include <vector>

#include "core/cuda/emulation/async_proxy.h"
#include "core/cuda/emulation/machine_cpu.h"
#include "tests/support/catch.h"

using namespace mla::gpu;
using emulation::MatrixDescriptor;
using emulation::Products;

namespace {

// Restores when products happen.
struct At {
  explicit At(Products when) { emulation::set_products(when); }
  ~At() { emulation::set_products(Products::late); }
};

// Offset in elements of (mn, k) in a layout of the manual, ((a0,a1,a2),(b0,b1)):((s0,s1,s2),(t0,t1)); a2 and b1 are as many as are used.
struct ExactLayout {
  int a0, a1, s0, s1, s2, b0, t0, t1;
  int at(int mn, int k) const { return mn % a0 * s0 + mn / a0 % a1 * s1 + mn / a0 / a1 * s2 + k % b0 * t0 + k / b0 * t1; }
};
// Swizzle<bits, 4, 3> of a byte offset: bits 4.. are exchanged for themselves xor bits 7..
uint32_t swizzle(uint32_t byte, int bits) { return byte ^ ((byte >> 7 & ((1u << bits) - 1)) << 4); }
uint64_t descriptor(uint32_t start, int leading, int stride, uint64_t mode) {
  return uint64_t{start >> 4} | static_cast<uint64_t>(leading >> 4) << 16 | static_cast<uint64_t>(stride >> 4) << 32 | mode << 62;
}

// Shared memory of a product: queries and keys [64,64], values [64,256].
constexpr uint32_t kA = 0, kB = kSlabBytes, kV = 2 * kSlabBytes, kBytes = 6 * kSlabBytes;
float a_value(int row, int column) { return static_cast<float>((row * 5 + column * 3) % 11 - 5); }
float b_value(int row, int column) { return static_cast<float>((row * 7 + column) % 13 - 6); }

void store_slab(uint32_t offset, float (*value)(int, int), int first_column) {
  unsigned char* slab = dynamic_slabs() + offset;
  for (int i = static_cast<int>(threadIdx.x); i < 64 * 64; i += 128) {
    const int row = i / 64, column = i % 64;
    store_shared(slab + slab_byte(row, column / kChunk) + column % kChunk * 2, from_float<Brain>(value(row, first_column + column)));
  }
}
void store_operands() {
  store_slab(kA, a_value, 0);
  store_slab(kB, b_value, 0);
  for (int slab = 0; slab < 4; ++slab) store_slab(kV + static_cast<uint32_t>(slab) * kSlabBytes, b_value, slab * 64);
}
float with_rows(int row, int column) {
  float sum = 0;
  for (int k = 0; k < 64; ++k) sum += a_value(row, k) * b_value(column, k);
  return sum;
}
float with_columns(int row, int column) {
  float sum = 0;
  for (int k = 0; k < 64; ++k) sum += a_value(row, k) * b_value(k, column);
  return sum;
}
uint32_t a_pair(int thread, int step, int index) {
  const Element e = a_element(thread % 32, index, 0);
  const int row = thread / 32 * 16 + e.row, column = step * 16 + e.column;
  return packed<Brain>(a_value(row, column), a_value(row, column + 1));
}
uint64_t a_of(int step) { return k_major(shared_address(dynamic_slabs() + kA)) + k_major_step(0, step); }
uint64_t b_of(int step) { return k_major(shared_address(dynamic_slabs() + kB)) + k_major_step(0, step); }
uint64_t v_of(int step) { return mn_major(shared_address(dynamic_slabs() + kV)) + mn_major_step(step); }

// The scores' product with a step left out, put wrongly or right; elements that differ from a_value b_value^T.
struct Steps {
  bool proxy_fence = true, wait = true, overwrite = false;
};
int wrong_scores(Steps steps) {
  int wrong = 0;
  emulation::run_block(128, kBytes, [&] {
    store_operands();
    if (steps.proxy_fence) fence_async_proxy();
    __syncthreads();
    float d[32] = {};
    product_fence();
    for (int step = 0; step < 4; ++step) multiply_k_major<Brain>(d, a_of(step), b_of(step), step > 0);
    commit_products();
    if (steps.overwrite) store_slab(kB, a_value, 0);
    if (steps.wait) wait_products<0>();
    for (int i = 0; i < 32; ++i) {
      const Element e = d_element(static_cast<int>(threadIdx.x), i);
      wrong += d[i] != with_rows(e.row, e.column);
    }
    wait_products<0>();
  });
  return wrong;
}

}  // namespace

// "Strides" and "Canonical Layouts", with the manual's own examples for 16-bit types and their continuation to 128 bytes.
TEST_CASE("the emulation finds elements where the manual's layouts have them", "[cuda][warpgroup]") {
  const auto differs = [](const ExactLayout& layout, int bits, uint64_t wide, bool k_major_, int most) {
    const MatrixDescriptor matrix(wide);
    int wrong = 0;
    for (int mn = 0; mn < most; ++mn)
      for (int k = 0; k < 16; ++k) wrong += matrix.address(k_major_, mn, k) != 4096 + swizzle(static_cast<uint32_t>(2 * layout.at(mn, k)), bits);
    return wrong;
  };
  CHECK(differs({8, 1, 1, 8, 64, 8, 8, 128}, 0, descriptor(4096, 256, 128, 0), false, 16) == 0);     // ((8,1,2),(8,2)):((1,8,64),(8,128))
  CHECK(differs({8, 2, 1, 8, 128, 8, 16, 256}, 1, descriptor(4096, 256, 512, 3), false, 32) == 0);   // ((8,2,2),(8,2)):((1,8,128),(16,256))
  CHECK(differs({8, 4, 1, 8, 256, 8, 32, 512}, 2, descriptor(4096, 512, 1024, 2), false, 64) == 0);  // ((8,4,2),(8,2)):((1,8,256),(32,512))
  CHECK(differs({8, 8, 1, 8, 512, 8, 64, 1024}, 3, descriptor(4096, 1024, 2048, 1), false, 128) == 0);
  CHECK(differs({8, 8, 8, 64, 512, 8, 1, 512}, 0, descriptor(4096, 1024, 128, 0), true, 64) == 0);  // ((8,m),(8,2)):((8,64),(1,512))
  CHECK(differs({8, 8, 16, 128, 0, 8, 1, 8}, 1, descriptor(4096, 16, 256, 3), true, 64) == 0);
  CHECK(differs({8, 8, 32, 256, 0, 8, 1, 8}, 2, descriptor(4096, 16, 512, 2), true, 64) == 0);
  CHECK(differs({8, 8, 64, 512, 0, 8, 1, 8}, 3, descriptor(4096, 16, 1024, 1), true, 64) == 0);
  CHECK_THROWS_AS(MatrixDescriptor(uint64_t{1} << 49), std::logic_error);
}

TEST_CASE("a slab's descriptor has its fields at the manual's bits", "[cuda][warpgroup]") {
  const uint64_t bits = slab_descriptor(0x2c420, 8192);
  CHECK((bits & 0x3fff) == 0x2c42);
  CHECK((bits >> 16 & 0x3fff) == 512);
  CHECK((bits >> 32 & 0x3fff) == 64);
  CHECK((bits >> 49 & 7) == 0);
  CHECK(bits >> 62 == 1);
  CHECK((bits & ~(0x3fffull | 0x3fffull << 16 | 0x3fffull << 32 | 3ull << 62)) == 0);
}

TEST_CASE("descriptors of slabs find what slab_byte has put there", "[cuda][warpgroup]") {
  constexpr uint32_t kStart = 3 * kSlabAlignment;
  int wrong = 0;
  for (int step = 0; step < 4; ++step)
    for (int k = 0; k < 16; ++k) {
      for (int slab = 0; slab < 9; ++slab)
        for (int row = 0; row < 64; ++row)
          wrong += MatrixDescriptor(k_major(kStart) + k_major_step(slab, step)).address(true, row, k) != kStart + static_cast<uint32_t>(slab) * kSlabBytes + slab_byte(row, step * 2 + k / 8) + static_cast<uint32_t>(k % 8 * 2);
      for (int column = 0; column < 256; ++column)
        wrong += MatrixDescriptor(mn_major(kStart) + mn_major_step(step)).address(false, column, k) !=
                 kStart + static_cast<uint32_t>(column / 64) * kSlabBytes + slab_byte(step * 16 + k, column % 64 / 8) + static_cast<uint32_t>(column % 8 * 2);
    }
  CHECK(wrong == 0);
}

TEST_CASE("a slab holds every chunk once", "[cuda][warpgroup]") {
  std::set<uint32_t> places;
  for (int row = 0; row < 64; ++row)
    for (int chunk = 0; chunk < 8; ++chunk) places.insert(slab_byte(row, chunk));
  CHECK(places.size() == 512);
  CHECK(*places.rbegin() == kSlabBytes - 16);
}

// "for element i of D: row = groupID for i % 4 in {0,1}, else groupID + 8, of the warp's 16 rows; col = i / 4 * 8 + threadID_in_group * 2 + (i & 1)"
TEST_CASE("results of a warpgroup lie as the manual says, each once", "[cuda][warpgroup]") {
  std::set<int> places;
  for (int thread = 0; thread < 128; ++thread)
    for (int i = 0; i < 128; ++i) {
      const int group = thread % 32 >> 2, in_group = thread % 4;
      const Element e = d_element(thread, i);
      CHECK(e.row == thread / 32 * 16 + (i % 4 < 2 ? group : group + 8));
      CHECK(e.column == i / 4 * 8 + in_group * 2 + (i & 1));
      places.insert(e.row * 256 + e.column);
    }
  CHECK(places.size() == 64 * 256);
}

TEST_CASE("emulated warpgroup products are matrix products", "[cuda][warpgroup][emulation]") {
  for (const Products when : {Products::late, Products::at_once}) {
    const At at(when);
    int wrong = 0;
    emulation::run_block(128, kBytes, [&] {
      const int thread = static_cast<int>(threadIdx.x);
      store_operands();
      fence_async_proxy();
      __syncthreads();
      float scores[32], of_registers[32] = {}, values[128] = {}, values_of_registers[128] = {};
      uint32_t a[4][4];
      for (int step = 0; step < 4; ++step)
        for (int index = 0; index < 4; ++index) a[step][index] = a_pair(thread, step, index);
      product_fence();
      for (int step = 0; step < 4; ++step) {
        multiply_k_major<Brain>(scores, a_of(step), b_of(step), step > 0);
        multiply_k_major<Brain>(of_registers, a[step], b_of(step), true);
        multiply_mn_major<Brain>(values, a_of(step), v_of(step));
        multiply_mn_major<Brain>(values_of_registers, a[step], v_of(step));
      }
      commit_products();
      wait_products<0>();
      for (int i = 0; i < 128; ++i) {
        const Element e = d_element(thread, i);
        if (i < 32) wrong += (scores[i] != with_rows(e.row, e.column)) + (of_registers[i] != with_rows(e.row, e.column));
        wrong += (values[i] != with_columns(e.row, e.column)) + (values_of_registers[i] != with_columns(e.row, e.column));
      }
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("what products must wait for, and what must wait for them, shows", "[cuda][warpgroup][emulation]") {
  CHECK(wrong_scores({}) == 0);
  CHECK(wrong_scores({.proxy_fence = false}) == 64 * 64);
  CHECK(wrong_scores({.wait = false}) > 3000);  // some products are 0
  CHECK(wrong_scores({.overwrite = true}) > 2000);
  const At at(Products::at_once);
  CHECK(wrong_scores({}) == 0);
  CHECK(wrong_scores({.proxy_fence = false}) == 64 * 64);
}

TEST_CASE("products without wgmma.fence are errors", "[cuda][warpgroup][emulation]") {
  const auto run = [](bool first, bool second, bool change) {
    emulation::run_block(128, kBytes, [&] {
      float d[32] = {};
      if (first) product_fence();
      multiply_k_major<Brain>(d, a_of(0), b_of(0), false);
      commit_products();
      wait_products<0>();
      if (second) product_fence();
      if (change) d[3] = 1;
      multiply_k_major<Brain>(d, a_of(0), b_of(0), true);
      commit_products();
      wait_products<0>();
    });
  };
  CHECK_NOTHROW(run(true, true, false));
  CHECK_THROWS_AS(run(false, true, false), std::logic_error);
  CHECK_THROWS_AS(run(true, false, false), std::logic_error);
  CHECK_THROWS_AS(run(true, true, true), std::logic_error);
}

TEST_CASE("a copy is seen by products after its thread's fence", "[cuda][warpgroup][emulation]") {
  alignas(16) static const Brain ones[8] = {{0x3f80}, {0x3f80}, {0x3f80}, {0x3f80}, {0x3f80}, {0x3f80}, {0x3f80}, {0x3f80}};
  for (const bool fenced : {true, false}) {
    int numbers = 0;
    emulation::run_block(128, kBytes, [&] {
      for (int i = static_cast<int>(threadIdx.x); i < 512; i += 128) {
        copy_async(dynamic_slabs() + kA + i * 16, ones, true);
        copy_async(dynamic_slabs() + kB + i * 16, ones, true);
      }
      commit_copies();
      if (!fenced) fence_async_proxy();  // before the copy is there
      wait_copies<0>();
      if (fenced) fence_async_proxy();
      __syncthreads();
      float d[32] = {};
      product_fence();
      multiply_k_major<Brain>(d, a_of(0), b_of(0), false);
      commit_products();
      wait_products<0>();
      for (const float x : d) numbers += x == 16.0f;
    });
    CHECK(numbers == (fenced ? 64 * 64 : 0));
  }
}

TEST_CASE("named barriers hold those that wait and let through those that only arrive", "[cuda][warpgroup][emulation]") {
  std::vector<int> seen(32, -1);
  int value = 0;
  emulation::run_block(64, 0, [&] {
    if (threadIdx.x >= 32) {
      if (threadIdx.x == 40) value = 7;
      barrier_arrive(3, 64);
    } else {
      barrier_sync(3, 64);
      seen[threadIdx.x] = value;
    }
  });
  CHECK(seen == std::vector<int>(32, 7));
  CHECK_THROWS_AS(emulation::run_block(64, 0, [] { if (threadIdx.x == 0) barrier_arrive(3, 64), barrier_arrive(3, 64); }), std::logic_error);
  CHECK_THROWS_AS(emulation::run_block(64, 0, [] { if (threadIdx.x < 32) barrier_sync(3, 64); }), std::logic_error);
}
