#include "core/cuda/emulation/machine_cpu.h"
#include "core/cuda/kernels/decode_layout.h"
#include "core/cuda/kernels/decode_wgmma_layout.h"
#include "tests/cuda/decode_case.h"

using namespace mla;
using namespace mla::gpu;
using mla::test::DecodeCase;
using mla::test::DecodeData;
using mla::test::DecodeResult;
using mla::test::gqa_shape;
using mla::test::mla_shape;

namespace {

constexpr double kFp32Error = 1e-5;   // sums of up to 1,024 products and 300 tokens in fp32
constexpr double kLogSumError = 1e-4; // absolute, in nats: products are exact, and weights are summed before they are rounded
constexpr double kCodesLogSumError = 1e-2;  // keys made of codes are rounded to the dtype
constexpr double kUnfusedShare = 2;         // of the error of the same computation in the dtype, step by step

// Tensor cores' kernels: every number of rows and both widths of instances, odd numbers of heads, lengths around a page's end.
std::vector<DecodeCase> tensor_cases() {
  std::vector<DecodeCase> cases;
  for (const Type type : {Type::bf16, Type::fp16}) {
    cases.push_back({"16 rows, wide", mla_shape(16, 512, 64, type), {65, 1, 64}});
    cases.push_back({"32 rows, wide", mla_shape(32, 512, 64, type), {200, 63}});
    cases.push_back({"64 rows, wide, two blocks of heads", mla_shape(128, 512, 64, type), {130}});
    cases.push_back({"rows without heads, narrow", mla_shape(5, 48, 16, type), {70, 3}, 0, 0, 1});
    cases.push_back({"one head more than rows", mla_shape(17, 80, 0, type), {129}});
    cases.push_back({"64 rows, narrow", mla_shape(40, 128, 64, type), {100, 65}});
    cases.push_back({"a rank between the instances", mla_shape(33, 256, 32, type), {66}});
    cases.push_back({"one stage", mla_shape(7, 64, 32, type), {190}, 0, 0, 0, 1});
    cases.push_back({"two stages, four splits", mla_shape(16, 144, 16, type), {250, 64, 129}, 0, 0, 1, 2});
    cases.push_back({"soft-cap", mla_shape(16, 64, 16, type), {90}, 0, 1.5f});
    cases.push_back({"window within a page", mla_shape(16, 64, 16, type), {200, 30}, 17});
    cases.push_back({"window over pages, split", mla_shape(20, 64, 16, type), {300, 128, 129}, 100, 0, 1});
    cases.push_back({"a rope key per group", {.heads = 8, .groups = 2, .key_dim = 64, .rope_dim = 16, .value_dim = 64, .type = type, .kind = static_cast<CacheKind>(type)}, {75}, 0, 0, 0, 0, false, true});
    cases.push_back({"grouped queries", gqa_shape(8, 2, 64, type), {150, 20}, 0, 0, 1});
    cases.push_back({"as many groups as heads", gqa_shape(4, 4, 128, type), {64, 65}});
    cases.push_back({"grouped queries with a window", gqa_shape(6, 2, 48, type), {140}, 70});
    for (const CacheKind kind : {CacheKind::int8, CacheKind::int4}) {
      cases.push_back({"codes, wide", mla_shape(32, 512, 64, type, kind), {70, 64}});
      cases.push_back({"codes, narrow, one stage", mla_shape(9, 128, 16, type, kind), {130, 1}, 0, 0, 1, 1});
      cases.push_back({"codes, a short last group", mla_shape(40, 96, 0, type, kind), {90}});
    }
  }
  return cases;
}

DecodeCase on_warpgroups(DecodeCase c) {
  c.kernel = DecodeKernel::wgmma;
  c.stages = 0;
  return c;
}

// The warpgroup kernel: every one of these shapes that it takes, and numbers of pages around those that a pair and two pairs have.
std::vector<DecodeCase> warpgroup_cases() {
  std::vector<DecodeCase> cases;
  for (const DecodeCase& c : tensor_cases())
    if (fits_warpgroups(c.shape)) cases.push_back(on_warpgroups(c));
  for (const Type type : {Type::bf16, Type::fp16}) {
    cases.push_back(on_warpgroups({"three pages, two pairs, five pages", mla_shape(64, 512, 64, type), {192, 250, 257}}));
    cases.push_back(on_warpgroups({"heads of a second block, no rope keys", mla_shape(70, 512, 0, type), {300}, 0, 0, 2}));
    cases.push_back(on_warpgroups({"a window that begins in a pair's second page", mla_shape(3, 512, 64, type), {440}, 300, 2.0f}));
  }
  return cases;
}

// The plain kernel: every dtype and kind, widths that are multiples of nothing.
std::vector<DecodeCase> plain_cases() {
  std::vector<DecodeCase> cases;
  for (const Type type : {Type::fp32, Type::fp16, Type::bf16}) {
    for (const CacheKind kind : {static_cast<CacheKind>(type), CacheKind::int8, CacheKind::int4}) {
      cases.push_back({"small odd widths", mla_shape(3, 7, 2, type, kind), {65, 1, 130}, 0, 0, 1, 0, true});
      cases.push_back({"wide", mla_shape(2, 600, 200, type, kind), {70}, 0, 0, 0, 0, true});
    }
    cases.push_back({"grouped queries of 256", gqa_shape(4, 2, 256, type), {100, 64}, 33, 2.0f, 1, 0, true});
    cases.push_back({"window and soft-cap", mla_shape(2, 33, 4, type), {190, 10}, 65, 1.0f, 1, 0, true});
  }
  DecodeCase quantised{"quantised keys and values", gqa_shape(4, 2, 50, Type::fp32), {80}, 0, 0, 0, 0, true};
  quantised.shape.kind = CacheKind::int8;
  quantised.shape.quant_group = 16;
  cases.push_back(quantised);
  return cases;
}

void check_case(const Operators& operators, const DecodeCase& c) {
  INFO(c.name << ", dtype " << static_cast<int>(c.shape.type) << ", cache " << static_cast<int>(c.shape.kind));
  const DecodeData data(c);
  DecodePlan plan = data.plan(operators);
  CHECK((plan.rows == 0) == c.plain);
  CHECK(plan.kernel == c.kernel);
  if (c.stages > 0) {
    plan.stages = c.stages;
    plan.shared_bytes = decode_layout(data.shape(), plan.rows, c.stages).total;
  }
  const DecodeResult wanted = data.reference(), got = data.run(operators, plan);
  const double bound = c.shape.type == Type::fp32 ? kFp32Error : kUnfusedShare * test::relative_error(data.unfused(), wanted.out);
  CHECK(test::relative_error(got.out, wanted.out) <= bound);
  const double nats = !c.plain && is_quantised(c.shape.kind) ? kCodesLogSumError : kLogSumError;
  for (std::size_t i = 0; i < wanted.log_sums.size(); ++i) CHECK(std::abs(got.log_sums[i] - wanted.log_sums[i]) < nats);
}

void check_broken_tables(const Operators& operators, bool plain, DecodeKernel kernel = DecodeKernel::fitting) {
  const DecodeCase c{"", mla_shape(4, 64, 16, Type::bf16), {100, 70, 90, 200}, 0, 0, 1, 0, plain, false, kernel};
  DecodeData data(c);
  const DecodeResult right = data.run(operators, data.plan(operators));
  data.lengths = {100, 0, 4096, 200};            // an empty sequence, one longer than its page table
  data.table[3 * (data.table.size() / 4) + 1] = 1 << 20;  // and a page that there is not
  const DecodeResult got = data.run(operators, data.plan(operators));
  const std::size_t row = got.out.size() / 4;
  int wrong = 0;
  for (std::size_t i = 0; i < row; ++i) {
    wrong += got.out[i] != right.out[i];
    wrong += got.out[row + i] != 0;
    wrong += !std::isnan(got.out[2 * row + i]);
    wrong += !std::isnan(got.out[3 * row + i]);
  }
  CHECK(wrong == 0);
  CHECK(got.log_sums[4] == -INFINITY);
  CHECK(std::isnan(got.log_sums[8]));
  CHECK(std::isnan(got.log_sums[12]));
}

// Says why the test is skipped where there is no card that has warpgroups.
bool no_warpgroups() {
  if (test::no_card()) return true;
  if (test::limits(test::card_operators()).warpgroups) return false;
  skip("wanted a card of compute capability 9.0 for the wgmma kernel, got " + describe(test::found_card().card));
  return true;
}

void check_all(const Operators& operators) {
  for (const DecodeCase& c : tensor_cases()) check_case(operators, c);
  for (const DecodeCase& c : plain_cases()) check_case(operators, c);
}

}  // namespace

TEST_CASE("decode kernels equal the reference, emulated", "[cuda][decode]") { check_all(test::emulated()); }

TEST_CASE("the warpgroup decode kernel equals the reference, emulated", "[cuda][decode][warpgroup]") {
  for (const emulation::Products products : {emulation::Products::at_once, emulation::Products::late}) {
    emulation::set_products(products);
    for (const DecodeCase& c : warpgroup_cases()) check_case(test::emulated(), c);
  }
}

TEST_CASE("the warpgroup decode kernel equals the reference on the card", "[cuda][decode][warpgroup][card]") {
  if (no_warpgroups()) return;
  for (const DecodeCase& c : warpgroup_cases()) check_case(test::card_operators(), c);
  check_case(test::card_operators(), on_warpgroups({"long", mla_shape(128, 512, 64, Type::bf16), {8192, 1, 4097, 3000}}));
  check_broken_tables(test::card_operators(), false, DecodeKernel::wgmma);
}

TEST_CASE("decode kernels equal the reference on the card", "[cuda][decode][card]") {
  if (test::no_card()) return;
  check_all(test::card_operators());
}

TEST_CASE("a long context of many sequences equals the reference on the card", "[cuda][decode][card][long]") {
  if (test::no_card()) return;
  check_case(test::card_operators(), {"", mla_shape(128, 512, 64, Type::bf16), {8192, 1, 4097, 3000}});
  check_case(test::card_operators(), {"", mla_shape(32, 512, 64, Type::bf16, CacheKind::int8), {8192, 700}});
  check_case(test::card_operators(), {"", gqa_shape(32, 8, 128, Type::bf16), {8192, 700, 63}});
}

TEST_CASE("a sequence with a broken table becomes NaN and no other, emulated", "[cuda][decode][errors]") {
  check_broken_tables(test::emulated(), false);
  check_broken_tables(test::emulated(), true);
  check_broken_tables(test::emulated(), false, DecodeKernel::wgmma);
}

TEST_CASE("a sequence with a broken table becomes NaN and no other on the card", "[cuda][decode][errors][card]") {
  if (test::no_card()) return;
  check_broken_tables(test::card_operators(), false);
  check_broken_tables(test::card_operators(), true);
}

TEST_CASE("decode gives equal bits in every order of threads", "[cuda][decode][emulation]") {
  for (const DecodeCase& c : {DecodeCase{"", mla_shape(32, 128, 16, Type::bf16), {150}}, DecodeCase{"", mla_shape(40, 64, 0, Type::bf16), {130}},
                              DecodeCase{"", mla_shape(16, 64, 16, Type::bf16, CacheKind::int4), {130}}, DecodeCase{"", mla_shape(2, 33, 4, Type::fp32), {130}},
                              DecodeCase{"", gqa_shape(4, 2, 64, Type::bf16), {130}}}) {
    const DecodeData data(c);
    const DecodePlan plan = data.plan(test::emulated());
    const DecodeResult forward = data.run(test::emulated(), plan);
    for (const emulation::Order order : {emulation::Order::backward, emulation::Order::drawn, emulation::Order::first_ahead, emulation::Order::last_ahead}) {
      emulation::set_order(order, 11);
      const DecodeResult other = data.run(test::emulated(), plan);
      emulation::set_order(emulation::Order::forward);
      CHECK(other.out == forward.out);
      CHECK(other.log_sums == forward.log_sums);
    }
  }
}

TEST_CASE("the warpgroup kernel gives equal bits in every order of threads, and with products early and late", "[cuda][decode][emulation][warpgroup]") {
  const DecodeData data(on_warpgroups({"", mla_shape(66, 512, 64, Type::bf16), {310, 128}}));
  const DecodePlan plan = data.plan(test::emulated());
  const DecodeResult first = data.run(test::emulated(), plan);
  for (const emulation::Products products : {emulation::Products::late, emulation::Products::at_once})
    for (const emulation::Order order : {emulation::Order::forward, emulation::Order::backward, emulation::Order::drawn, emulation::Order::first_ahead, emulation::Order::last_ahead}) {
      emulation::set_products(products);
      emulation::set_order(order, 12);
      const DecodeResult other = data.run(test::emulated(), plan);
      emulation::set_order(emulation::Order::forward);
      emulation::set_products(emulation::Products::late);
      CHECK(other.out == first.out);
      CHECK(other.log_sums == first.log_sums);
    }
}

TEST_CASE("an empty batch launches nothing", "[cuda][decode]") {
  DecodeArgs args;
  args.shape = mla_shape(16, 64, 16, Type::bf16);
  args.plan = plan_decode(args.shape, {}, 0, {4, 232448, true});
  CHECK_NOTHROW(test::emulated().decode(args, nullptr));
  CHECK(args.plan.workspace_bytes == 0);
}
