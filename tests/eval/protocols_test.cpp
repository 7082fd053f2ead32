// The protocols of perplexity: which predictions count, against the programs that they are named after.
#include <cmath>

#include "core/base/error.h"
#include "eval/perplexity.h"
#include "eval/windows.h"
#include "tests/support/bytes.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

// Letters a, b, c, ...: token i of the text is i % 26.
Windows cut_letters(int64_t count, const WindowOptions& options) {
  const TemporaryFolder folder;
  std::string text;
  for (int64_t i = 0; i < count; ++i) text += static_cast<char>('a' + i % 26);
  write_bytes(folder / "text.txt", text);
  return cut_text(folder / "text.txt", letter_tokenizer(), options);
}

// How often each token of the text is predicted, and after how many tokens of context.
struct Seen {
  int64_t times = 0, context = 0;
};
std::vector<Seen> predictions(const Windows& windows, int64_t count) {
  std::vector<Seen> seen(static_cast<std::size_t>(count));
  for (int64_t w = 0; w < windows.ids.size(0); ++w) {
    const int64_t length = windows.lengths.defined() ? windows.lengths[w].item<int64_t>() : windows.ids.size(1);
    for (int64_t t = 0; t + 1 < length; ++t) {
      if (windows.scored.defined() && !windows.scored[w][t].item<bool>()) continue;
      Seen& one = seen[static_cast<std::size_t>(windows.ids[w][t + 1].item<int64_t>())];  // texts of at most 26 letters: ids are positions
      ++one.times;
      one.context = t + 1;
    }
  }
  return seen;
}

}  // namespace

TEST_CASE("hf-stride scores every token but the first once, with the context that the stride leaves", "[eval][protocols]") {
  const Windows windows = cut_letters(25, {.protocol = "hf-stride", .window = 8, .stride = 3});
  const std::vector<Seen> seen = predictions(windows, 25);
  CHECK(seen[0].times == 0);
  for (int64_t i = 1; i < 25; ++i) {
    CHECK(seen[static_cast<std::size_t>(i)].times == 1);
    CHECK(seen[static_cast<std::size_t>(i)].context >= std::min<int64_t>(i, 5));
  }
  CHECK(windows.protocol == "hf-stride/8/3");
  CHECK(cut_letters(24, {.protocol = "hf-stride", .window = 8, .stride = 8}).ids.size(0) == 3);
}

TEST_CASE("llama.cpp scores the second half of each window, behind a BOS where one is asked for", "[eval][protocols]") {
  const Windows windows = cut_letters(25, {.protocol = "llama.cpp", .window = 8});
  const std::vector<Seen> seen = predictions(windows, 25);
  for (int64_t i = 0; i < 25; ++i) CHECK(seen[static_cast<std::size_t>(i)].times == (i < 24 && i % 8 > 4 ? 1 : 0));
  CHECK_THROWS_WITH(cut_letters(25, {.protocol = "llama.cpp", .window = 8, .bos = "window"}), Catch::Contains("BOS"));
}

// Recorded from lm_eval 0.4.13: make_disjoint_window over get_rolling_token_windows(range(1, 12), 0, 4, 1).
TEST_CASE("lm-eval's windows are those of lm-evaluation-harness", "[eval][protocols][golden]") {
  const TemporaryFolder folder;
  write_bytes(folder / "text.txt", "bcdefghijkl");
  TokenizerData data;
  for (char c = 'a'; c <= 'z'; ++c) data.tokens.push_back(std::string(1, c));
  data.special.assign(26, false);
  data.bos_id = 0;
  const Windows windows = cut_text(folder / "text.txt", Tokenizer(data, "test"), {.protocol = "lm-eval", .window = 4});
  REQUIRE(windows.ids.size(0) == 3);
  const int64_t ids[3][5] = {{0, 1, 2, 3, 4}, {4, 5, 6, 7, 8}, {7, 8, 9, 10, 11}};
  const bool scored[3][4] = {{true, true, true, true}, {true, true, true, true}, {false, true, true, true}};
  for (int64_t w = 0; w < 3; ++w)
    for (int64_t t = 0; t < 5; ++t) {
      CHECK(windows.ids[w][t].item<int64_t>() == ids[w][t]);
      if (t < 4) CHECK(windows.scored[w][t].item<bool>() == scored[w][t]);
    }
  CHECK(windows.words == 1);
  CHECK(windows.bytes == 11);
}

// Recorded from lm_eval 0.4.13's wikitext_detokenizer and from Python's re.split.
TEST_CASE("WikiText is detokenised and counted as lm-evaluation-harness does", "[eval][protocols][golden]") {
  const std::string cost = " It cost $ 3 @.@ 5 million ( about \" 12 @,@ 000 \" ) ; the players ' [ sic ] answer : yes ! Really ? { x } 5 \u00b0 C N 's ( a ( b ) c ) \n = = Early = = \n";
  CHECK(wikitext_detokenize(cost) == " It cost $ 3.5 million (about \"12,000\"); the players'[sic] answer: yes! Really? {x} 5\u00b0C N's (a ( b) c )\n== Early ==\n");
  CHECK(wikitext_detokenize(" ' tis 's  ( \u00a0x ) end '") == " 'tis's  (x) end '");
  CHECK(count_words(cost) == 50);
  CHECK(count_words(" ' tis 's  ( \u00a0x ) end '") == 9);
  CHECK(count_words("") == 1);
  CHECK(count_words("a b ") == 3);
  CHECK(count_words(" a") == 2);

  const std::vector<std::string> pages = wikitext_pages(" \n = One = \n \n text \n = = Part = = \n more \n = Two = \n end");
  REQUIRE(pages.size() == 2);
  CHECK(pages[1] == " = Two = \n end");
  CHECK(wikitext_pages("plain text").size() == 1);
}

TEST_CASE("windows of different lengths score as each alone", "[eval][protocols][oracle]") {
  const Decoder decoder = tiny_decoder({.vocab = 27});
  DecoderModel model(decoder);
  const Windows windows = cut_letters(23, {.protocol = "hf-stride", .window = 9, .stride = 4});
  REQUIRE(windows.lengths.defined());
  const StageScore score = score_windows({{"original", &model}}, windows, {.batch_windows = 3})[0];
  double nll = 0;
  int64_t tokens = 0;
  for (int64_t w = 0; w < windows.ids.size(0); ++w) {
    const int64_t length = windows.lengths[w].item<int64_t>();
    const at::Tensor ids = windows.ids[w].narrow(0, 0, length).unsqueeze(0);
    const at::Tensor log_p = at::log_softmax(decoder.logits(decoder.last_hidden(ids))[0].to(at::kDouble), -1);
    for (int64_t t = 0; t + 1 < length; ++t)
      if (windows.scored[w][t].item<bool>()) nll -= log_p[t][ids[0][t + 1].item<int64_t>()].item<double>(), ++tokens;
  }
  CHECK(score.tokens == tokens);
  CHECK(tokens == 22);
  CHECK(score.perplexity == Approx(std::exp(nll / static_cast<double>(tokens))).epsilon(1e-5));
}
