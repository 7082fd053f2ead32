#include "core/cuda/emulation/machine_cpu.h"

#include <stdexcept>
#include <vector>

#include "core/cuda/kernels/reduce.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/splitmix64.h"

using namespace mla::gpu;

namespace {
// Restores the order of turns.
struct InOrder {
  explicit InOrder(emulation::Order order) { emulation::set_order(order, 5); }
  ~InOrder() { emulation::set_order(emulation::Order::forward); }
};
constexpr emulation::Order kOrders[] = {emulation::Order::forward, emulation::Order::backward, emulation::Order::drawn, emulation::Order::first_ahead, emulation::Order::last_ahead};
}  // namespace

TEST_CASE("threads of an emulated block see one another's values after a barrier", "[cuda][emulation]") {
  for (const emulation::Order order : kOrders) {
    const InOrder in_order(order);
    std::vector<float> sums(96);
    emulation::run_block(96, 0, [&] {
      static float scratch[3];
      sums[threadIdx.x] = block_sum<96>(static_cast<float>(threadIdx.x), scratch);
    });
    CHECK(sums == std::vector<float>(96, 96 * 95 / 2));
  }
}

TEST_CASE("a barrier that some threads skip is an error", "[cuda][emulation]") {
  CHECK_THROWS_AS(emulation::run_block(64, 0, [] { if (threadIdx.x < 32) __syncthreads(); }), std::logic_error);
}

TEST_CASE("a missing barrier shows in one order of turns", "[cuda][emulation]") {
  int wrong = 0;
  for (const emulation::Order order : kOrders) {
    const InOrder in_order(order);
    std::vector<int> shared(64, -1), seen(64);
    emulation::run_block(64, 0, [&] {
      shared[threadIdx.x] = static_cast<int>(threadIdx.x);
      seen[threadIdx.x] = shared[63 - threadIdx.x];
    });
    for (int i = 0; i < 64; ++i) wrong += seen[static_cast<std::size_t>(i)] != 63 - i;
  }
  CHECK(wrong > 0);
}

TEST_CASE("an asynchronous copy has happened after its wait and not before", "[cuda][emulation]") {
  alignas(16) float source[4] = {1, 2, 3, 4};
  emulation::run_block(32, 32, [&] {
    auto* to = reinterpret_cast<float*>(dynamic_shared());
    if (threadIdx.x == 0) {
      copy_async(to, source, true);
      commit_copies();
      copy_async(to + 4, source, false);
      commit_copies();
      CHECK(std::isnan(to[0]));
      wait_copies<1>();
      CHECK(to[3] == 4.0f);
      CHECK(std::isnan(to[4]));
      wait_copies<0>();
      CHECK(to[4] == 0.0f);
    }
  });
}

TEST_CASE("the emulated product of fragments is a matrix product", "[cuda][emulation]") {
  mla::test::SplitMix64 draw(1);
  alignas(16) Brain a[16][16], keys[16][16];  // keys: rows of k for two B; also rows of n when transposed
  for (auto* m : {a, keys})
    for (int i = 0; i < 256; ++i) m[i / 16][i % 16] = from_float<Brain>(static_cast<float>(static_cast<int>(draw.next() % 17) - 8));
  float plain[16][16], transposed[16][16];
  emulation::run_block(32, 0, [&] {
    const int lane = lane_id();
    uint32_t fa[4], fb[4], ft[4];
    load_matrices(fa, &a[a_address(lane).row][a_address(lane).chunk * kChunk]);
    load_matrices(fb, &keys[b_address(lane).row][b_address(lane).chunk * kChunk]);
    load_matrices_transposed(ft, &keys[b_transposed_address(lane).row][b_transposed_address(lane).chunk * kChunk]);
    for (int tile = 0; tile < 2; ++tile) {
      float c[4] = {}, t[4] = {};
      multiply_add<Brain>(c, fa, fb[2 * tile], fb[2 * tile + 1]);
      multiply_add<Brain>(t, fa, ft[2 * tile], ft[2 * tile + 1]);
      for (int index = 0; index < 4; ++index) {
        const Element e = c_element(lane, index);
        plain[e.row][tile * 8 + e.column] = c[index];
        transposed[e.row][tile * 8 + e.column] = t[index];
      }
    }
  });
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) {
      float with_rows = 0, with_columns = 0;
      for (int k = 0; k < 16; ++k) {
        with_rows += to_float(a[i][k]) * to_float(keys[j][k]);
        with_columns += to_float(a[i][k]) * to_float(keys[k][j]);
      }
      CHECK(plain[i][j] == with_rows);
      CHECK(transposed[i][j] == with_columns);
    }
}

TEST_CASE("16-bit floats go to fp32 and back", "[cuda][numbers]") {
  int bad = 0;
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const Half h{static_cast<uint16_t>(bits)};
    const Brain b{static_cast<uint16_t>(bits)};
    if (!std::isnan(to_float(h))) bad += from_float<Half>(to_float(h)).bits != bits;
    else bad += !std::isnan(to_float(from_float<Half>(to_float(h))));
    if (!std::isnan(to_float(b))) bad += from_float<Brain>(to_float(b)).bits != bits;
    else bad += !std::isnan(to_float(from_float<Brain>(to_float(b))));
  }
  CHECK(bad == 0);
}

TEST_CASE("fp32 rounds to the nearest 16-bit float, ties to even", "[cuda][numbers]") {
  mla::test::SplitMix64 draw(9);
  const auto nearest = [](float x, auto zero) {  // among the neighbours of what from_float gives, none is nearer; of equals it is the even one
    using T = decltype(zero);
    const T got = from_float<T>(x);
    const double error = std::abs(static_cast<double>(to_float(got)) - x);
    for (int step : {-1, 1}) {
      const T other{static_cast<uint16_t>(got.bits + step)};
      const double there = std::abs(static_cast<double>(to_float(other)) - x);
      if (there < error || (there == error && got.bits % 2 == 1)) return false;
    }
    return true;
  };
  for (int i = 0; i < 20000; ++i) {
    const double unit = static_cast<double>(draw.next() >> 11) / 9007199254740992.0;
    const auto x = static_cast<float>((unit - 0.5) * std::pow(2.0, static_cast<double>(draw.next() % 34) - 20));
    if (x == 0 || std::abs(x) > 60000) continue;
    CHECK(nearest(x, Half{}));
    CHECK(nearest(x, Brain{}));
  }
  CHECK(from_float<Half>(65519.0f).bits == 0x7bff);
  CHECK(from_float<Half>(65520.0f).bits == 0x7c00);
  CHECK(from_float<Half>(std::ldexp(1.0f, -25)).bits == 0);  // half of the least
  CHECK(from_float<Half>(std::ldexp(1.001f, -25)).bits == 1);
}
