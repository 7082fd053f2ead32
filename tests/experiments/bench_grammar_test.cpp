// llama-bench's grammar: what a text asks for, and where a wrong one is wrong.
#include "experiments/bench/grammar.h"

#include <cmath>

#include "core/base/error.h"
#include "experiments/bench/statistics.h"
#include "tests/support/catch.h"

using namespace mla;
using Numbers = std::vector<int64_t>;
using Catch::Matchers::Contains;

namespace {

std::vector<std::string> names_of(const BenchGrid& grid) {
  std::vector<std::string> names;
  for (const BenchCase& test : cases_of(grid)) names.push_back(name_of(test));
  return names;
}

const BenchGrid kOne{.depths = {0}, .chunks = {2048}, .sequences = {1}, .threads = {1}};

}  // namespace

TEST_CASE("numbers are lists and ranges with steps and factors, in their order", "[bench]") {
  CHECK(parse_numbers("512", "-p", 0) == Numbers{512});
  CHECK(parse_numbers("512,128,512", "-p", 0) == Numbers{512, 128, 512});
  CHECK(parse_numbers("3-6", "-p", 0) == Numbers{3, 4, 5, 6});
  CHECK(parse_numbers("1-9+4", "-p", 0) == Numbers{1, 5, 9});
  CHECK(parse_numbers("0-10+4", "-p", 0) == Numbers{0, 4, 8});  // a step may pass the last
  CHECK(parse_numbers("128-1024*2", "-p", 0) == Numbers{128, 256, 512, 1024});
  CHECK(parse_numbers("128-1023*2,7", "-p", 0) == Numbers{128, 256, 512, 7});
}

TEST_CASE("a wrong text is named with the place and with what was wanted there", "[bench][errors]") {
  const auto wrong = [](const std::string& text, const std::string& says, int64_t least = 0) {
    INFO(text);
    CHECK_THROWS_AS(parse_numbers(text, "--n-prompt", least), UsageError);
    CHECK_THROWS_WITH(parse_numbers(text, "--n-prompt", least), Contains(says) && Contains("--n-prompt " + text));
  };
  wrong("", "wanted a number at position 1");
  wrong("512,", "wanted a number at position 5");
  wrong("512,x24", "wanted a number at position 5 of --n-prompt 512,x24, got 'x24'");
  wrong("512;24", "a comma, a range (1-8, 1-9+4, 1-8*2) or the end at position 4");
  wrong("8-4", "a last number of at least 8 at position 3");
  wrong("1-8*1", "a factor of at least 2 at position 5");
  wrong("1-8+0", "a step of at least 1 at position 5");
  wrong("0-8*2", "a first number above 0 in a range with a factor at position 1");
  wrong("1-", "the range's last number at position 3");
  wrong("4,0", "a number of at least 1 at position 3", 1);
  wrong("1-999999", "at most 10000 values");
  wrong("99999999999999999999", "a number of at most");
}

TEST_CASE("a pair is a prompt and what follows it", "[bench]") {
  CHECK(parse_pair("512,128", "-pg").prompt == 512);
  CHECK(parse_pair("512,128", "-pg").generated == 128);
  CHECK_THROWS_WITH(parse_pair("512", "-pg"), Contains("a comma and the number of generated tokens at position 4 of -pg 512, got its end"));
  CHECK_THROWS_WITH(parse_pair("512,128,1", "-pg"), Contains("the end at position 8"));
}

TEST_CASE("tests are named as llama-bench names them, the cross product in its order", "[bench]") {
  BenchGrid grid = kOne;
  grid.prompts = {512, 0};
  grid.generated = {128};
  grid.pairs = {{64, 16}};
  grid.depths = {0, 8192};

  CHECK(names_of(grid) == std::vector<std::string>{"pp512", "tg128", "pp64+tg16", "pp512 @ d8192", "tg128 @ d8192", "pp64+tg16 @ d8192"});
  grid.prompts = {};
  grid.pairs = {};
  grid.depths = {0};
  grid.threads = {1, 2};
  grid.sequences = {1, 4};
  const std::vector<BenchCase> cases = cases_of(grid);
  REQUIRE(cases.size() == 4);
  CHECK(cases[1].threads == 2);
  CHECK(cases[1].sequences == 1);
  CHECK(cases[2].sequences == 4);
}

TEST_CASE("nothing to measure is refused", "[bench][errors]") {
  BenchGrid grid = kOne;
  grid.prompts = grid.generated = {0};
  CHECK_THROWS_WITH(cases_of(grid), Contains("-p, -n or -pg"));
}

TEST_CASE("options of several letters behind one dash are bench's alone", "[bench]") {
  using Words = std::vector<std::string>;
  CHECK(bench_words({"mlaforge", "-q", "bench", "-pg", "8,4", "-npl", "2", "-oe", "csv", "-p", "4"}) ==
        Words{"mlaforge", "-q", "bench", "--prompt-gen", "8,4", "--sequences", "2", "--output-err", "csv", "-p", "4"});
  CHECK(bench_words({"mlaforge", "generate", "--prompt", "-pg"}) == Words{"mlaforge", "generate", "--prompt", "-pg"});
  CHECK(bench_words({"mlaforge"}) == Words{"mlaforge"});
}

TEST_CASE("Student's quantiles equal the tabulated ones", "[bench]") {
  constexpr double kTable = 5e-4;  // three digits are printed
  for (const auto& [degrees, value] : std::vector<std::pair<int, double>>{{1, 12.706}, {2, 4.303}, {3, 3.182}, {4, 2.776}, {9, 2.262}, {10, 2.228}, {30, 2.042}, {120, 1.980}})
    CHECK(t_quantile_975(degrees) == Approx(value).margin(kTable));
}

TEST_CASE("a ratio is the geometric mean of pairs, and what hits both models alike leaves its interval narrow", "[bench]") {
  const std::vector<double> slow{10, 5, 20}, fast{20, 10, 40};  // the machine's speed changes fourfold, the ratio does not
  const RateRatio exact = paired_ratio(fast, slow);
  CHECK(exact.ratio == Approx(2));
  CHECK(exact.low == Approx(2));
  CHECK(exact.high == Approx(2));

  const RateRatio rough = paired_ratio({2, 8}, {1, 1});  // logarithms ln 2 and ln 8: mean ln 4, half width t(1) * ln 2
  CHECK(rough.ratio == Approx(4));
  CHECK(rough.low == Approx(4 * std::pow(2, -12.7062)).epsilon(1e-3));
  CHECK(rough.high == Approx(4 * std::pow(2, 12.7062)).epsilon(1e-3));
  CHECK_FALSE(paired_ratio({2}, {1}).has_interval());
  CHECK_THROWS_AS(paired_ratio({1, 2}, {1}), ShapeError);
}

TEST_CASE("deviations are those of a sample", "[bench]") {
  CHECK(deviation_of({2, 4, 4, 4, 5, 5, 7, 9}) == Approx(std::sqrt(32.0 / 7)));
  CHECK(deviation_of({3}) == 0);
  CHECK(mean_of({1, 2, 6}) == 3);
}
