// Batches under a memory, by arithmetic that a reader can follow.
#include "experiments/bench/plan.h"

#include <numeric>

#include "core/base/error.h"
#include "tests/support/catch.h"

using namespace mla;
using Catch::Matchers::Contains;

namespace {

constexpr int64_t kGib = int64_t{1} << 30;

// 2 layers, 10 bytes a token and layer.
MemoryNeeds small(int64_t weights = 1000) {
  return {.weights = weights, .activations_per_token = 3, .logits_per_sequence = 50, .layers = 2, .cache = [](int64_t tokens) { return 20 * tokens; }};
}

// Llama-2-7B in bf16: 6,738,415,616 parameters, 8192 values per token and layer, or a latent of 512 and a rope key of 64.
MemoryNeeds llama(int64_t values) {
  return {.weights = 2 * int64_t{6738415616}, .activations_per_token = 2 * (4 * 4096 + 2 * 4096 + 3 * 11008), .logits_per_sequence = 32000 * 6, .layers = 32,
          .cache = [values](int64_t tokens) { return 2 * 32 * values * tokens; }};
}

}  // namespace

TEST_CASE("the workspace holds the tokens of one forward, logits, and a copy of one layer's caches", "[bench]") {
  CHECK(workspace_bytes(small(), 4, 100, 64) == 64 * 3 + 4 * (50 + 1000));
  CHECK(workspace_bytes(small(), 4, 10, 64) == 40 * 3 + 4 * (50 + 100));    // fewer tokens than a chunk in all
  CHECK(workspace_bytes(small(), 100, 10, 64) == 100 * 3 + 100 * (50 + 100));  // one of each sequence at least
}

TEST_CASE("the largest batch is the last one that fits", "[bench]") {
  const int64_t each = 2000 + 1050;  // cache of 100 tokens, logits and copy
  CHECK(largest_batch(small(), 1000 + 64 * 3 + 4 * each, 100, 64) == 4);
  CHECK(largest_batch(small(), 1000 + 64 * 3 + 4 * each - 1, 100, 64) == 3);
  CHECK(largest_batch(small(), 1000 + 64 * 3 + each - 1, 100, 64) == 0);
  CHECK(largest_batch(small(), 999, 100, 64) == 0);
}

TEST_CASE("requests are served in the fewest batches, as equal as can be", "[bench]") {
  CHECK(batches_of(100, 32) == std::vector<int64_t>{25, 25, 25, 25});
  CHECK(batches_of(100, 33) == std::vector<int64_t>{25, 25, 25, 25});
  CHECK(batches_of(100, 34) == std::vector<int64_t>{34, 33, 33});
  CHECK(batches_of(100, 1000) == std::vector<int64_t>{100});
  CHECK(batches_of(3, 1) == std::vector<int64_t>{1, 1, 1});
  for (int64_t largest = 1; largest < 40; ++largest) {
    const std::vector<int64_t> sizes = batches_of(37, largest);
    CHECK(std::accumulate(sizes.begin(), sizes.end(), int64_t{0}) == 37);
    CHECK(sizes.front() <= largest);
    CHECK(sizes.front() - sizes.back() <= 1);
  }
}

TEST_CASE("TransMLA's cards: where the original runs out of memory, and what the latent cache gains", "[bench]") {
  const ProtocolOptions options;
  const std::vector<ProtocolCell> original = plan_protocol(llama(8192), options), latent = plan_protocol(llama(576), options);
  REQUIRE(original.size() == 3 * 6);
  const auto at = [](const std::vector<ProtocolCell>& cells, int64_t gib, int64_t context) {
    for (const ProtocolCell& cell : cells)
      if (cell.memory == gib * kGib && cell.context == context) return cell;
    return ProtocolCell{};
  };
  CHECK(at(original, 24, 8192).cache_per_sequence == 4 * kGib);                      // 512 KiB a token
  CHECK(at(latent, 24, 8192).cache_per_sequence == 4 * kGib * 576 / 8192);
  CHECK(at(original, 24, 8192).largest == 2);                                        // 24 - 12.55 GiB of weights, less the workspace
  CHECK(at(original, 24, 32768).batches.empty());                                    // the paper: OOM
  CHECK(at(latent, 24, 8192).largest == 38);
  CHECK(at(latent, 24, 1024).batches == std::vector<int64_t>{100});
  for (const ProtocolCell& cell : latent) {
    CHECK(cell.prompt() + cell.output() == cell.context);
    CHECK(cell.prompt() == cell.output());
  }
  for (std::size_t i = 0; i < original.size(); ++i) CHECK(latent[i].largest > original[i].largest);
}

TEST_CASE("a protocol of nothing is refused", "[bench][errors]") {
  CHECK_THROWS_WITH(plan_protocol(small(), {.requests = 0}), Contains("--requests"));
  CHECK_THROWS_WITH(plan_protocol(small(), {.contexts = {1}}), Contains("--contexts"));
  CHECK_THROWS_WITH(plan_protocol(small(), {.budgets = {-1}}), Contains("--budgets"));
}
