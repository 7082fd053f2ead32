// Memory that runs out: the same numbers from smaller pieces.
#include "core/base/error.h"
#include "eval/batch_generation.h"
#include "eval/continuations.h"
#include "eval/halving.h"
#include "eval/perplexity.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

enum class Kind { standard, torch, allocator };

void run_out(Kind kind) {
  if (kind == Kind::standard) throw std::bad_alloc();
  if (kind == Kind::torch) TORCH_CHECK_WITH(OutOfMemoryError, false, "no room");
  // What ATen's allocator says on Linux; asked for more than an address space holds, it says it for real.
  at::empty({int64_t{1} << 46}, at::kByte);
}

// Every hidden state is a function of its own token alone, so that the numbers do not depend on what comes with it.
class Fake : public LanguageModel {
 public:
  Fake(int64_t limit, Kind kind) : limit_(limit), kind_(kind), table_(tiny_inputs(1, 27, 8, 3)[0]), head_(tiny_inputs(1, 27, 8, 4)[0]) {}
  at::Tensor last_hidden(const at::Tensor& ids) override { return hidden(ids); }
  const at::Tensor& head() const override { return head_; }
  at::Tensor packed_hidden(const at::Tensor& ids, const std::vector<Segment>&) override { return hidden(ids); }
  int failures = 0;

 private:
  at::Tensor hidden(const at::Tensor& ids) {
    if (ids.numel() > limit_) ++failures, run_out(kind_);
    return at::embedding(table_, ids);
  }
  int64_t limit_;
  Kind kind_;
  at::Tensor table_, head_;
};

constexpr int64_t kEndless = 1 << 30;

struct Rows : SampleSink {
  std::vector<SampleRow> rows;
  void add(const std::vector<SampleRow>& more) override { rows.insert(rows.end(), more.begin(), more.end()); }
};

std::vector<int32_t> ids_of(int64_t count, uint64_t seed) {
  const at::Tensor ids = tiny_ids(1, count, 26, seed)[0];
  std::vector<int32_t> all;
  for (int64_t i = 0; i < count; ++i) all.push_back(static_cast<int32_t>(ids[i].item<int64_t>()));
  return all;
}

// Batches of other sizes are other products of matrices: the last bit of a sum may differ.
auto close_to(const std::vector<double>& wanted) { return Catch::Matchers::Approx(wanted).margin(1e-5); }

}  // namespace

TEST_CASE("pieces are halved until they fit, in order, once for all batches", "[eval][memory]") {
  Halving halving("things");
  std::vector<std::pair<std::size_t, std::size_t>> asked, done;
  const auto work = [&](std::size_t first, std::size_t end) {
    asked.emplace_back(first, end);
    if (end - first > 2) throw std::bad_alloc();
    done.emplace_back(first, end);
  };
  halving.run(9, work);
  CHECK(asked.size() == 2 + done.size());  // 9, 4, then twos
  CHECK(done == std::vector<std::pair<std::size_t, std::size_t>>{{0, 2}, {2, 4}, {4, 6}, {6, 8}, {8, 9}});
  asked.clear();
  halving.run(4, work);
  CHECK(asked.size() == 2);

  CHECK_THROWS_AS(Halving("things").run(4, [](std::size_t, std::size_t) { throw std::bad_alloc(); }), std::bad_alloc);
  int calls = 0;
  CHECK_THROWS_AS(Halving("things").run(4, [&](std::size_t, std::size_t) { ++calls, fail<NumericalError>("test", "not memory"); }), NumericalError);
  CHECK(calls == 1);
  CHECK_FALSE(is_out_of_memory(std::runtime_error("out of memory")));
}

TEST_CASE("perplexity, choices and generation give the same where memory runs out", "[eval][memory]") {
  const Kind kind = GENERATE(Kind::standard, Kind::torch, Kind::allocator);
  const Windows windows{.ids = tiny_ids(7, 12, 27, 5), .protocol = "hf-chunk/test", .corpus = "tiny", .text_tokens = 84};
  const auto perplexity = [&](Fake& fake, Rows& rows) { return score_windows({{"original", &fake}}, windows, {.sink = &rows}).at(0).window_nll; };
  Fake whole(kEndless, kind), tight(12, kind);
  Rows wanted_rows, rows;
  CHECK_THAT(perplexity(tight, rows), close_to(perplexity(whole, wanted_rows)));
  CHECK(tight.failures == 2);  // four windows, two; then one at a time
  REQUIRE(rows.rows.size() == 7);
  for (std::size_t i = 0; i < 7; ++i) CHECK(rows.rows[i].index == wanted_rows.rows[i].index);

  std::vector<RequestItem> items;
  for (uint64_t i = 0; i < 6; ++i) items.push_back({{ids_of(5, i), ids_of(2, i + 50)}, {ids_of(5, i), ids_of(3, i + 90)}});
  const auto choices = [&](Fake& fake) {
    std::vector<double> all;
    std::vector<std::size_t> starts;
    score_continuations({&fake}, items, {.max_length = 99, .batch_items = 4}, [&](std::size_t first, const std::vector<ItemScores>& scores) {
      starts.push_back(first);
      for (const ItemScores& item : scores)
        for (const ContinuationScore& score : item[0]) all.push_back(score.log_likelihood);
    });
    CHECK(starts == std::vector<std::size_t>{0, 4});  // a batch is handed over whole however it was computed
    return all;
  };
  Fake narrow(16, kind);
  CHECK_THAT(choices(narrow), close_to(choices(whole)));
  CHECK(narrow.failures > 0);

  const Tokenizer tokenizer = letter_tokenizer();
  std::vector<GenerationRequest> requests;
  for (uint64_t i = 0; i < 5; ++i) requests.push_back({ids_of(3, i), 4, 0, {}, {}});
  const auto generated = [&](Fake& fake) {
    std::vector<std::vector<int32_t>> all(requests.size());
    generate_batches(fake, tokenizer, requests, {.batch = 5}, [&](const std::vector<Generated>& group) {
      for (const Generated& one : group) all[one.request] = one.ids;
    });
    return all;
  };
  Fake small(3, kind);
  CHECK(generated(whole) == generated(small));
  CHECK(small.failures > 0);
}

TEST_CASE("what does not fit alone is an error", "[eval][memory][errors]") {
  Fake none(3, Kind::standard);
  const Windows windows{.ids = tiny_ids(2, 12, 27, 5), .protocol = "hf-chunk/test", .corpus = "tiny", .text_tokens = 24};
  CHECK_THROWS_AS(score_windows({{"original", &none}}, windows, {}), std::bad_alloc);
}
