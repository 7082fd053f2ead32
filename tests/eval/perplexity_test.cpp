// Windows, token scores without logits, perplexity and divergence against a plain fp64 computation.
#include <cmath>

#include "core/base/error.h"
#include "core/cuda/token_scores.h"
#include "eval/perplexity.h"
#include "tests/support/bytes.h"
#include "tests/support/catch.h"
#include "tests/support/divided.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

Windows tiny_windows(int64_t count, int64_t window, int64_t vocab) { return {.ids = tiny_ids(count, window, vocab, 5), .protocol = "hf-chunk/test", .corpus = "tiny", .text_tokens = count * window}; }

struct Rows : SampleSink {
  std::vector<SampleRow> rows;
  void add(const std::vector<SampleRow>& more) override { rows.insert(rows.end(), more.begin(), more.end()); }
};

}  // namespace

TEST_CASE("token scores in vocabulary blocks equal the fp64 reference", "[eval][operator]") {
  // More rows of vocabulary than one block holds, and a count that no block size divides.
  const at::Tensor head = tiny_inputs(1, 40961, 16, 1)[0], other_head = head + 0.01 * tiny_inputs(1, 40961, 16, 2)[0];
  const at::Tensor hidden = 2 * tiny_inputs(1, 37, 16, 3)[0], targets = tiny_ids(1, 37, 40961)[0];
  const std::vector<StageHidden> stages{{hidden, head}, {hidden * 1.05, head}, {hidden, other_head}};

  const TokenScores ours = token_scores(stages, targets), plain = reference::token_scores(stages, targets);

  CHECK(max_relative_error(ours.nll_nats, plain.nll_nats) < kFp32Reordering);
  CHECK((ours.kld_nats - plain.kld_nats).abs().max().item<double>() < 1e-6);
  CHECK(ours.kld_nats[0].abs().max().item<double>() == 0);
  CHECK(at::equal(ours.same_top, plain.same_top));
}

TEST_CASE("a shift of all logits changes no score", "[eval][operator]") {
  const at::Tensor targets = tiny_ids(1, 9, 50)[0], head = tiny_inputs(1, 50, 8, 1)[0], hidden = tiny_inputs(1, 9, 8, 2)[0];
  // A constant column of the head times a constant column of the hidden states adds 300 to every logit.
  const at::Tensor shifted_head = at::cat({head, at::full({50, 1}, 30.0f)}, 1), shifted = at::cat({hidden, at::full({9, 1}, 10.0f)}, 1);
  const TokenScores a = token_scores({{hidden, head}}, targets), b = token_scores({{shifted, shifted_head}}, targets);
  CHECK((a.nll_nats - b.nll_nats).abs().max().item<double>() < 1e-3);  // fp32 logits near 300 carry 3e-5 each
}

TEST_CASE("token scores refuse shapes that do not fit", "[eval][operator][errors]") {
  const at::Tensor hidden = tiny_inputs(1, 9, 8)[0], head = tiny_inputs(1, 50, 8)[0], targets = tiny_ids(1, 9, 50)[0];
  CHECK_THROWS_AS(token_scores({}, targets), ShapeError);
  CHECK_THROWS_AS(token_scores({{hidden, head.narrow(1, 0, 7)}}, targets), ShapeError);
  CHECK_THROWS_AS(token_scores({{hidden, head}, {hidden, head.narrow(0, 0, 49)}}, targets), ShapeError);
  CHECK_THROWS_AS(token_scores({{hidden, head}}, targets.narrow(0, 0, 8)), ShapeError);
}

TEST_CASE("a text is cut into whole windows, the tail dropped, under a name that says so", "[eval]") {
  const TemporaryFolder folder;
  write_bytes(folder / "text.txt", std::string(10, 'a') + std::string(10, 'b') + "ccccc");
  const Tokenizer tokenizer = letter_tokenizer();
  const Windows all = cut_text(folder / "text.txt", tokenizer, {.window = 10}), first = cut_text(folder / "text.txt", tokenizer, {.window = 5, .max_windows = 3});
  CHECK(all.ids.sizes() == at::IntArrayRef({2, 10}));
  CHECK(all.ids[1].eq(1).all().item<bool>());
  CHECK(all.protocol == "hf-chunk/10");
  CHECK(all.text_tokens == 25);
  CHECK(first.ids.sizes() == at::IntArrayRef({3, 5}));
  CHECK(first.protocol == "hf-chunk/5/first3");
  const Windows later = cut_text(folder / "text.txt", tokenizer, {.window = 5, .max_windows = 2, .skip_windows = 2});
  CHECK(later.protocol == "hf-chunk/5/windows3-4");
  CHECK(later.ids.eq(1).all().item<bool>());
  CHECK_THROWS_WITH(cut_text(folder / "text.txt", tokenizer, {.window = 10, .skip_windows = 2}), Contains("behind --skip-windows 2"));
  CHECK_THROWS_WITH(cut_text(folder / "text.txt", tokenizer, {.window = 26}), Contains("at least one window of 26 tokens") && Contains("25"));
}

TEST_CASE("perplexity and divergence equal a plain computation from logits", "[eval]") {
  const Decoder p = tiny_decoder(), q = tiny_decoder({}, 8);
  DecoderModel original(p), other(q);
  const Windows windows = tiny_windows(5, 12, p.config.vocab_size);
  Rows rows;

  const std::vector<StageScore> scores = score_windows({{"original", &original}, {"mla", &other}}, windows, {.batch_windows = 2, .sink = &rows});

  const auto nll = [&](const Decoder& model) {  // [5], nats
    const at::Tensor log_p = at::log_softmax(model.logits(model.last_hidden(windows.ids)).to(at::kDouble), -1).narrow(1, 0, 11);
    return -log_p.gather(-1, windows.ids.narrow(1, 1, 11).unsqueeze(-1)).squeeze(-1).mean(1);
  };
  const at::Tensor mine = nll(q);
  CHECK(scores[1].perplexity == Approx(std::exp(mine.mean().item<double>())).epsilon(1e-6));
  CHECK(scores[1].std_error == Approx(scores[1].perplexity * mine.std().item<double>() / std::sqrt(5.0)).epsilon(1e-5));
  CHECK(scores[0].perplexity == Approx(std::exp(nll(p).mean().item<double>())).epsilon(1e-6));
  CHECK_FALSE(scores[0].divergence.has_value());
  const at::Tensor p_logits = p.logits(p.last_hidden(windows.ids)).narrow(1, 0, 11), q_logits = q.logits(q.last_hidden(windows.ids)).narrow(1, 0, 11);
  CHECK(scores[1].divergence->mean == Approx(mean_kl(p_logits, q_logits)).epsilon(1e-5));
  CHECK(scores[1].divergence->same_top == Approx(p_logits.argmax(-1).eq(q_logits.argmax(-1)).to(at::kDouble).mean().item<double>()));
  CHECK(scores[1].divergence->ppl_ratio == Approx(scores[1].perplexity / scores[0].perplexity).epsilon(1e-9));
  CHECK(rows.rows.size() == 5 * 3);  // two losses and one divergence per window
}

TEST_CASE("a model against itself has no divergence, and the batch size changes nothing", "[eval]") {
  const Decoder model = tiny_decoder();
  DecoderModel a(model), b(model);
  const Windows windows = tiny_windows(5, 12, model.config.vocab_size);
  const auto one = score_windows({{"original", &a}, {"mla", &b}}, windows, {.batch_windows = 1}), five = score_windows({{"original", &a}, {"mla", &b}}, windows, {.batch_windows = 5});
  CHECK(std::abs(one[1].divergence->mean) < kKlOfEquals);
  CHECK(one[1].divergence->same_top == 1);
  CHECK(one[1].perplexity == Approx(five[1].perplexity).epsilon(1e-6));
}

TEST_CASE("a NaN ends the evaluation and names stage and window", "[eval][errors]") {
  Decoder broken = tiny_decoder();
  const Decoder model = tiny_decoder();
  broken.final_norm = broken.final_norm.clone().fill_(std::numeric_limits<float>::quiet_NaN());
  DecoderModel a(model), b(broken);
  const Windows windows = tiny_windows(2, 12, model.config.vocab_size);
  CHECK_THROWS_AS(score_windows({{"original", &a}, {"mla", &b}}, windows, {}), NumericalError);
  CHECK_THROWS_WITH(score_windows({{"original", &a}, {"mla", &b}}, windows, {}), Contains("mla") && Contains("window"));
}

TEST_CASE("batches divided over three processes give the scores and rows of one, to the last bit", "[eval][distributed]") {
  const Decoder first = tiny_decoder(), second = tiny_decoder({}, 8);
  DecoderModel original(first), converted(second);
  const std::vector<StageModel> stages{{"original", &original}, {"mla", &converted}};
  const Windows windows = tiny_windows(11, 9, 50);
  Rows alone, together;
  const std::vector<StageScore> one = score_windows(stages, windows, {.batch_windows = 2, .sink = &alone});

  LeftMessages left;
  for (const int rank : {2, 1}) {
    Divided other(rank, 3, left);
    CHECK(score_windows(stages, windows, {.batch_windows = 2, .division = &other}).empty());
    CHECK(other.computed == 2);
  }
  Divided putting_together(0, 3, left);
  const std::vector<StageScore> three = score_windows(stages, windows, {.batch_windows = 2, .sink = &together, .division = &putting_together});

  CHECK(putting_together.computed == 2);
  REQUIRE(three.size() == 2);
  for (std::size_t s = 0; s < 2; ++s) {
    CHECK(three[s].perplexity == one[s].perplexity);
    CHECK(three[s].std_error == one[s].std_error);
    CHECK(three[s].window_nll == one[s].window_nll);
  }
  REQUIRE(three[1].divergence->statistics.size() == one[1].divergence->statistics.size());
  for (std::size_t i = 0; i < one[1].divergence->statistics.size(); ++i) CHECK(three[1].divergence->statistics[i].value == one[1].divergence->statistics[i].value);
  REQUIRE(alone.rows.size() == together.rows.size());
  for (std::size_t i = 0; i < alone.rows.size(); ++i) CHECK(alone.rows[i].value == together.rows[i].value);
}
