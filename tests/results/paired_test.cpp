// Two runs over the same items.
#include "results/paired.h"

#include <cmath>

#include "core/base/error.h"
#include "core/base/python_random.h"
#include "tests/support/catch.h"

using namespace mla;

namespace {

std::vector<AnswerRow> rows(const std::vector<double>& scores, char prompt = 'a') {
  std::vector<AnswerRow> all;
  for (std::size_t i = 0; i < scores.size(); ++i)
    all.push_back({"arc_easy", "mla", static_cast<int64_t>(i), std::to_string(i), std::string(64, prompt), "0", "1", scores[i], 1, "{}"});
  return all;
}

}  // namespace

TEST_CASE("a paired comparison has the difference, its interval and the flips", "[results][paired]") {
  PythonRandom random(5);
  std::vector<double> a, b;
  for (int i = 0; i < 400; ++i) {
    a.push_back(random.below(10) < 5 ? 1 : 0);
    b.push_back(random.below(10) < 8 ? a.back() : 1);
  }
  const PairedComparison result = compare_answers(rows(a), rows(b)).at(0);
  double difference = 0, squares = 0;
  std::size_t flips = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference += (b[i] - a[i]) / 400, flips += a[i] != b[i];
  for (std::size_t i = 0; i < a.size(); ++i) squares += std::pow(b[i] - a[i] - difference, 2);
  const double error = std::sqrt(squares / 400 / 400);  // what the bootstrap estimates
  CHECK(result.difference == Approx(difference));
  CHECK(result.flipped.size() == flips);
  CHECK(result.low == Approx(difference - 1.96 * error).margin(0.25 * error));
  CHECK(result.high == Approx(difference + 1.96 * error).margin(0.25 * error));
}

TEST_CASE("runs that cannot be paired are refused with the reason", "[results][paired][errors]") {
  CHECK_THROWS_WITH(compare_answers(rows({1, 0}), rows({1, 0, 1})), Catch::Contains("2 and 3"));
  CHECK_THROWS_WITH(compare_answers(rows({1, 0}), rows({1, 0}, 'b')), Catch::Contains("the same prompt of item 0"));
  std::vector<AnswerRow> other = rows({1});
  other[0].task = "piqa";
  CHECK_THROWS_WITH(compare_answers(rows({1}), other), Catch::Contains("none in common"));
  std::vector<AnswerRow> twice = rows({1});
  twice.push_back(twice[0]);
  CHECK_THROWS_WITH(compare_answers(twice, rows({1})), Catch::Contains("name a stage"));
}
