#include "core/cuda/kernels/decode_layout.h"
#include "core/cuda/kernels/decode_wgmma_layout.h"
#include "tests/cuda/decode_case.h"

using namespace mla;
using namespace mla::gpu;
using mla::test::gqa_shape;
using mla::test::mla_shape;

namespace {
constexpr double kFp64Reordering = 1e-12;
constexpr CardLimits kH100{132, 232448, true}, kA100{108, 166912, true}, kSmall{40, 101376, true}, kOld{80, 98304, false};

DecodeShape with_batch(DecodeShape shape, std::size_t batch) {
  shape.batch = static_cast<int32_t>(batch);
  return shape;
}
}  // namespace

TEST_CASE("a plan's splits cover every key that a query sees once", "[cuda][plan]") {
  test::Draw draw(4);
  for (int round = 0; round < 300; ++round) {
    std::vector<int32_t> lengths;
    for (int64_t i = draw.below(9) + 1; i > 0; --i) lengths.push_back(static_cast<int32_t>(draw.below(round % 2 == 0 ? 300 : 40000)));
    const auto window = static_cast<int32_t>(round % 3 == 0 ? draw.below(5000) : 0);
    const DecodeShape shape = with_batch(mla_shape(1 + static_cast<int>(draw.below(128)), 16 * (1 + static_cast<int>(draw.below(32))), 64, Type::bf16), lengths.size());
    const DecodePlan plan = plan_decode(shape, lengths, window, round % 4 == 0 ? kA100 : kH100);
    for (const int32_t length : lengths) {
      const PageRange all = visible_pages(length, window);
      int64_t next = all.first;
      const int32_t count = split_count(all, plan.pages_per_split);
      REQUIRE(count <= plan.max_splits);
      for (int32_t split = 0; split < count; ++split) {
        const PageRange pages = split_pages(all, plan.pages_per_split, split);
        REQUIRE(pages.first == next);
        REQUIRE(pages.end > pages.first);
        next = pages.end;
      }
      REQUIRE(next == all.end);
      REQUIRE(all.end * kPageTokens >= length);
      REQUIRE((length == 0 || all.first * kPageTokens <= first_visible(length, window)));
      REQUIRE((length == 0 || (all.first + 1) * kPageTokens > first_visible(length, window)));
    }
    CHECK(plan.shared_bytes <= kH100.shared_bytes);
    CHECK(plan.workspace_bytes == (plan.max_splits > 1 ? int64_t{4} * shape.batch * shape.heads * plan.max_splits * (shape.value_dim + 1) : 0));
  }
}

TEST_CASE("any split of the keys combines to the unsplit result", "[cuda][plan]") {
  const test::DecodeData data({"", mla_shape(3, 40, 6, Type::fp32), {257}});
  const DecodeArgs args = data.host_args();
  test::Draw draw(8);
  for (int32_t head = 0; head < 3; ++head) {
    const reference::Partial whole = reference::decode_range(args, 0, head, 0, 257);
    for (int round = 0; round < 20; ++round) {
      std::vector<reference::Partial> parts;
      for (int32_t first = 0; first < 257;) {
        const auto end = static_cast<int32_t>(std::min<int64_t>(257, first + draw.below(round + 2)));  // empty parts too
        parts.push_back(reference::decode_range(args, 0, head, first, end));
        first = end;
      }
      const reference::Partial joined = reference::combine(parts);
      CHECK(test::relative_error(joined.out, whole.out) < kFp64Reordering);
      CHECK(std::abs(joined.log_sum - whole.log_sum) < kFp64Reordering);
    }
  }
}

TEST_CASE("scores far apart combine without overflow", "[cuda][plan]") {
  const reference::Partial joined = reference::combine({{{1.0}, 5000.0}, {{3.0}, 5000.0}, {{100.0}, -5000.0}, {{0.0}, -INFINITY}});
  CHECK(joined.out[0] == Approx(2.0).epsilon(kFp64Reordering));
  CHECK(joined.log_sum == Approx(5000.0 + std::log(2.0)).epsilon(kFp64Reordering));
}

TEST_CASE("a group's heads share a block where they fit", "[cuda][plan]") {
  const auto rows = [](const DecodeShape& shape, const CardLimits& card) { return plan_decode(with_batch(shape, 1), {100}, 0, card).rows; };
  CHECK(rows(mla_shape(16, 512, 64, Type::bf16), kH100) == 16);
  CHECK(rows(mla_shape(32, 512, 64, Type::bf16), kH100) == 32);
  CHECK(rows(mla_shape(128, 512, 64, Type::bf16), kH100) == 64);
  CHECK(rows(mla_shape(128, 512, 64, Type::bf16), kA100) == 32);   // 64 rows leave no room for two pages
  CHECK(rows(mla_shape(128, 512, 64, Type::bf16), kSmall) == 16);  // one page at a time
  CHECK(rows(mla_shape(128, 512, 64, Type::bf16, CacheKind::int8), kH100) == 32);
  CHECK(rows(gqa_shape(32, 8, 128, Type::bf16), kH100) == 16);
}

TEST_CASE("sizes that tensor cores do not take go to the plain kernel", "[cuda][plan]") {
  const auto plain = [](const DecodeShape& shape, const CardLimits& card) { return plan_decode(with_batch(shape, 1), {100}, 0, card).rows == 0; };
  CHECK(plain(mla_shape(16, 512, 64, Type::fp32), kH100));
  CHECK(plain(mla_shape(16, 520, 64, Type::bf16), kH100));
  CHECK(plain(mla_shape(16, 512, 128, Type::bf16), kH100));
  CHECK(plain(mla_shape(16, 512, 8, Type::bf16), kH100));
  CHECK(plain(mla_shape(16, 48, 16, Type::bf16, CacheKind::int4), kH100));  // rows of 24 bytes
  CHECK(plain(gqa_shape(8, 4, 256, Type::bf16), kH100));
  CHECK(plain(mla_shape(16, 512, 64, Type::bf16), kOld));
  CHECK_FALSE(plain(mla_shape(16, 384, 128, Type::bf16), kH100));
}

TEST_CASE("the warpgroup kernel is planned where it is asked for, and nowhere else", "[cuda][plan][warpgroup]") {
  CardLimits hopper = kH100, older = kA100;
  hopper.warpgroups = true;
  const DecodeShape shape = with_batch(mla_shape(128, 512, 64, Type::bf16), 1);
  CHECK(plan_decode(shape, {8192}, 0, hopper).kernel == DecodeKernel::fitting);
  hopper.kernel = older.kernel = DecodeKernel::wgmma;
  const DecodePlan plan = plan_decode(shape, {8192}, 0, hopper);
  CHECK(plan.kernel == DecodeKernel::wgmma);
  CHECK(plan.rows == 64);
  CHECK(plan.shared_bytes == WarpgroupLayout::total);
  CHECK(plan.shared_bytes <= hopper.shared_bytes);
  CHECK(plan.pages_per_split * plan.max_splits >= 128);

  CHECK_THROWS_WITH(plan_decode(shape, {8192}, 0, older), Catch::Contains("compute capability 9.0"));
  const auto refused = [&](const DecodeShape& other, const char* why) { CHECK_THROWS_WITH(plan_decode(with_batch(other, 1), {100}, 0, hopper), Catch::Contains(why)); };
  refused(mla_shape(16, 520, 64, Type::bf16), "up to 512");
  refused(mla_shape(16, 512, 80, Type::bf16), "got a latent of 512 and 80");
  refused(mla_shape(16, 512, 64, Type::fp32), "fp16 or bf16");
  refused(mla_shape(16, 512, 64, Type::bf16, CacheKind::int8), "quantised");
  refused(gqa_shape(8, 2, 64, Type::bf16), "got keys of 64");
}

TEST_CASE("a plan fills the card", "[cuda][plan]") {
  const auto blocks = [](const DecodeShape& shape, const std::vector<int32_t>& lengths, const CardLimits& card) {
    const DecodePlan plan = plan_decode(with_batch(shape, lengths.size()), lengths, 0, card);
    int64_t count = 0;
    for (int32_t length : lengths) count += split_count(visible_pages(length, 0), plan.pages_per_split);
    return count * ((shape.heads / shape.groups + plan.rows - 1) / plan.rows) * shape.groups;
  };
  CHECK(blocks(mla_shape(32, 512, 64, Type::bf16), std::vector<int32_t>(64, 8192), kH100) == 128);
  CHECK(blocks(mla_shape(128, 512, 64, Type::bf16), std::vector<int32_t>(1, 8192), kH100) >= 66);
  CHECK(plan_decode(with_batch(mla_shape(32, 512, 64, Type::bf16), 132), std::vector<int32_t>(132, 8192), 0, kH100).max_splits == 1);
}

TEST_CASE("a shape that no kernel takes is refused with what was wanted", "[cuda][plan][errors]") {
  const auto plan = [](DecodeShape shape) { return plan_decode(with_batch(shape, 1), {100}, 0, kH100); };
  CHECK_THROWS_WITH(plan(mla_shape(16, 2048, 64, Type::bf16)), Catch::Contains("wanted key_dim of 1 to 1024, got 2048"));
  CHECK_THROWS_WITH(plan(mla_shape(16, 0, 64, Type::bf16)), Catch::Contains("key_dim"));
  CHECK_THROWS_WITH(plan(mla_shape(16, 512, 300, Type::bf16)), Catch::Contains("rope_dim of 0 to 256, got 300"));
  CHECK_THROWS_WITH(plan(gqa_shape(9, 2, 64, Type::bf16)), Catch::Contains("multiple of key heads, got 9 and 2"));
  CHECK_THROWS_WITH(plan(mla_shape(16, 512, 64, Type::bf16, CacheKind::fp16)), Catch::Contains("another dtype"));
  DecodeShape odd = mla_shape(16, 512, 64, Type::bf16, CacheKind::int4);
  odd.quant_group = 33;
  CHECK_THROWS_WITH(plan(odd), Catch::Contains("even quant_group, got 33"));
  DecodeShape wider = mla_shape(16, 128, 64, Type::bf16);
  wider.value_dim = 129;
  CHECK_THROWS_WITH(plan(wider), Catch::Contains("value_dim 129 above key_dim 128"));
  CHECK_THROWS_AS(plan_decode(with_batch(mla_shape(1, 16, 0, Type::bf16), 1), {-1}, 0, kH100), ShapeError);
  CHECK_THROWS_AS(plan_decode(with_batch(mla_shape(1, 16, 0, Type::bf16), 2), {1}, 0, kH100), ShapeError);
  CHECK_THROWS_AS(plan_decode(with_batch(mla_shape(1, 16, 0, Type::bf16), 1), {1}, -1, kH100), ShapeError);
}

TEST_CASE("arguments that do not fit shape and plan are refused before a launch", "[cuda][plan][errors]") {
  const test::DecodeData data({"", mla_shape(16, 64, 16, Type::bf16), {100}});
  DecodeArgs good = data.host_args();
  std::vector<float> room(16 * 64 * 200);
  good.plan = plan_decode(good.shape, {100}, 0, kH100);
  good.out = room.data(), good.workspace = room.data();
  REQUIRE_NOTHROW(check_decode(good));
  const auto refused = [&](const auto& change) {
    DecodeArgs bad = good;
    change(bad);
    CHECK_THROWS_AS(check_decode(bad), ShapeError);
  };
  refused([](DecodeArgs& a) { a.q = nullptr; });
  refused([](DecodeArgs& a) { a.rope.data = nullptr; });
  refused([](DecodeArgs& a) { a.key.row_stride = 65; });
  refused([](DecodeArgs& a) { a.page_table_stride = 0; });
  refused([](DecodeArgs& a) { a.plan.stages = 1; });
  refused([](DecodeArgs& a) { a.plan.max_splits = 2, a.workspace = nullptr; });
  refused([](DecodeArgs& a) { a.q_head = 66; });
  refused([](DecodeArgs& a) { a.plan.rows = 8; });
}
