#include "core/cuda/paged_cache.h"

#include <set>

#include "core/base/error.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/splitmix64.h"

using mla::gpu::PagedCachePlan;

namespace {
// Every page is free or owned by one sequence, and each sequence has the pages that its length needs, no more.
void check_consistent(const PagedCachePlan& plan) {
  std::set<int32_t> owned;
  int32_t entries = 0;
  for (std::size_t sequence = 0; sequence < plan.lengths().size(); ++sequence)
    for (int32_t n = 0; n < plan.max_pages(); ++n) {
      const int32_t page = plan.page_table()[sequence * static_cast<std::size_t>(plan.max_pages()) + static_cast<std::size_t>(n)];
      const bool needed = n * 64 < plan.lengths()[sequence];
      CHECK((page >= 0) == needed);
      if (page < 0) continue;
      owned.insert(page);
      ++entries;
      CHECK(page < plan.pages());
    }
  CHECK(static_cast<int32_t>(owned.size()) == entries);
  CHECK(entries + plan.free_pages() == plan.pages());
}
}  // namespace

TEST_CASE("pages are taken as sequences grow and given back as they shrink", "[cuda][paged_cache]") {
  PagedCachePlan plan(2, 5, 3);
  plan.append(0, 64);
  CHECK(plan.free_pages() == 4);
  plan.append(0, 1);
  CHECK(plan.free_pages() == 3);
  plan.append(1, 63);
  plan.append(1, 1);
  CHECK(plan.free_pages() == 2);
  check_consistent(plan);
  plan.drop(0, 1);
  CHECK(plan.free_pages() == 3);
  plan.clear(0);
  CHECK(plan.length(0) == 0);
  CHECK(plan.free_pages() == 4);
  check_consistent(plan);
}

TEST_CASE("any sequence of appends and drops leaves every page with one owner", "[cuda][paged_cache]") {
  mla::test::SplitMix64 draw(3);
  PagedCachePlan plan(7, 40, 9);
  int refused = 0;
  for (int step = 0; step < 2000; ++step) {
    const auto sequence = static_cast<int32_t>(draw.next() % 7), tokens = static_cast<int32_t>(draw.next() % 150);
    const std::vector<int32_t> before = plan.lengths();
    try {
      if (draw.next() % 3 == 0) plan.drop(sequence, tokens % (plan.length(sequence) + 1));
      else plan.append(sequence, tokens);
    } catch (const mla::ResourceError&) {
      ++refused;
      CHECK(plan.lengths() == before);
    }
    if (step % 50 == 0) check_consistent(plan);
  }
  check_consistent(plan);
  CHECK(refused > 0);
}

TEST_CASE("a sequence longer than its page table, or than the free pages, is refused and nothing is taken", "[cuda][paged_cache]") {
  PagedCachePlan plan(3, 4, 3);
  CHECK_THROWS_WITH(plan.append(0, 193), Catch::Contains("wanted 193 tokens of sequence 0") && Catch::Contains("3 pages of 64"));
  plan.append(0, 192);
  CHECK_THROWS_WITH(plan.append(1, 65), Catch::Contains("wanted 2 more pages") && Catch::Contains("1 of 4 are free"));
  CHECK_THROWS_AS(plan.append_all(64), mla::ResourceError);
  CHECK(plan.length(1) == 0);
  CHECK(plan.free_pages() == 1);
  CHECK_THROWS_AS(plan.append(3, 1), mla::ShapeError);
  CHECK_THROWS_AS(plan.append(0, -1), mla::ShapeError);
  CHECK_THROWS_AS(plan.drop(0, 193), mla::ShapeError);
  CHECK_THROWS_AS(PagedCachePlan(-1, 4, 3), mla::ShapeError);
  check_consistent(plan);
}

TEST_CASE("no sequences and no pages are a plan too", "[cuda][paged_cache]") {
  PagedCachePlan plan(0, 0, 0);
  plan.append_all(5);
  CHECK(plan.free_pages() == 0);
}

TEST_CASE("a batch is as large as its pages fit into memory", "[cuda][paged_cache]") {
  CHECK(mla::gpu::sequences_within(1000, 10, 64) == 100);
  CHECK(mla::gpu::sequences_within(1000, 10, 65) == 50);
  CHECK(mla::gpu::sequences_within(9, 10, 1) == 0);
  CHECK_THROWS_AS(mla::gpu::sequences_within(9, 0, 1), mla::ShapeError);
}
