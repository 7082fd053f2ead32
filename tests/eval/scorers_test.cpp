// What the original programs do in single cases (spec of the metrics), and what ours refuses.
#include "eval/scorers/scorers.h"

#include "core/base/error.h"
#include "eval/scorers/answers.h"
#include "eval/scorers/averages.h"
#include "eval/scorers/code_sim.h"
#include "eval/scorers/exact_match.h"
#include "eval/scorers/qa_f1.h"
#include "eval/scorers/rouge.h"
#include "eval/scorers/text.h"
#include "tests/support/catch.h"

using namespace mla;

TEST_CASE("rouge_l counts distinct words, keeps case, and cuts at every full stop", "[scorers]") {
  CHECK(rouge_l("Hello World", "hello world").f == 0);
  CHECK(rouge_l("a a a a", "a").f == Approx(0.999999995).epsilon(1e-12));
  CHECK(rouge_l("hello world.\n", "hello world.").f == Approx(0.79999999520).epsilon(1e-10));
  CHECK(rouge_l("", "a").f == 0);
  CHECK(rouge_l("...", "a").f == 0);
}

TEST_CASE("the recursion limit is met at 990 steps back, and one earlier in rouge_zh", "[scorers]") {
  const auto past = [](int words, RougeDepth depth) {
    std::string prediction = "x";
    for (int i = 1; i < words; ++i) prediction += " y";
    return rouge_l(prediction, "x", depth).past_cliff;
  };
  CHECK_FALSE(past(990, RougeDepth::rouge));
  CHECK(past(991, RougeDepth::rouge));
  CHECK_FALSE(past(989, RougeDepth::rouge_zh));
  CHECK(past(990, RougeDepth::rouge_zh));
}

TEST_CASE("code_sim takes the first line without a comment mark, and two empty lines are alike", "[scorers]") {
  CHECK(code_sim("return x", "return y") == 0.88);
  CHECK(code_sim("for i in range(10):", "for i in range(n):") == 0.92);
  CHECK(code_sim("\n\n# no\n`no`\na // no\nreturn x\nrest", "return x") == 1);
  CHECK(code_sim("# only a comment", "") == 1);
  CHECK(code_sim("# only a comment", "x") == 0);
}

TEST_CASE("classification keeps the class behind a removed one, as the original's loop does", "[scorers]") {
  // "a" is inside the gold and goes; "ab" moves to its place and is skipped.
  CHECK(classification("abc", "abc", {"a", "ab", "abc"}) == 0.5);
  CHECK(classification("abc", "abc", {"abc"}) == 1);
  CHECK(classification("x", "abc", {"abc"}) == 0);
}

TEST_CASE("the score is the largest over the answers", "[scorers]") {
  CHECK(score("qa_f1", "The quick fox", {{"dog", "a quick fox", "fox"}, {}}) == 1);
  CHECK(score("count", "3 or 4", {{"5", "4"}, {}}) == 0.5);
}

TEST_CASE("an article goes only as a whole word, after punctuation is gone", "[scorers]") {
  CHECK(py::encode(normalise_en(U"The theatre, an A-b a")) == "theatre ab");
}

TEST_CASE("numbers print as Python prints them", "[scorers]") {
  CHECK(py::repr(1.0) == "1.0");
  CHECK(py::repr(1e16) == "1e+16");
  CHECK(py::repr(9999999999999998.0) == "9999999999999998.0");
  CHECK(py::repr(0.0001) == "0.0001");
  CHECK(py::repr(0.00001) == "1e-05");
  CHECK(py::repr(0.1 + 0.2) == "0.30000000000000004");
}

TEST_CASE("GSM8K's number is the first behind the mark, or the last anywhere", "[scorers]") {
  CHECK(gsm8k_strict("so #### 1,234. and #### 5") == "1,234.");
  CHECK(gsm8k_strict("#### $5") == "[invalid]");
  CHECK(gsm8k_flexible("3 apples cost $4.50, I pay -7") == "-7");
  CHECK(score("gsm8k_strict@lm-eval", "x #### 1,234.", {{"long answer\n#### 1234"}, {}}) == 1);
  CHECK(score("gsm8k@lighteval", "no number", {{"none either"}, {}}) == 1);
}

TEST_CASE("MMLU-Pro's letter is the first behind its phrase, with or without a bracket", "[scorers]") {
  const auto judged = [](const char* text, const char* gold) { return score("mmlu_pro@lm-eval", text, {{gold}, {}}); };
  CHECK(judged("Let us see. The answer is (C).", "C") == 1);
  CHECK(judged("the answer is C, not answer is (D)", "D") == 0);
  CHECK(judged("the answer is unclear; answer is (J", "j") == 1);
  CHECK(judged("The Answer is (C)", "C") == 0);
  CHECK(judged("answer is K", "K") == 0);
}

TEST_CASE("averages round as the originals do", "[scorers]") {
  CHECK(longbench_average({0.5, 0.25}) == 37.5);
  CHECK(longbench_average({1, 0, 0}) == 33.33);
  CHECK(longbench_average({0.02675}) == 2.67);  // Python: 2.675 lies below its decimal form
  CHECK(longbench_e_averages({0.02675}, {5000})[1] == 2.68);  // numpy: 267.5 to even
  CHECK_THROWS_AS(longbench_average({}), ConfigError);
  CHECK_THROWS_AS(longbench_e_averages({1}, {1, 2}), ConfigError);
}

TEST_CASE("an unknown scorer is answered with the known names", "[scorers][errors]") {
  CHECK_THROWS_WITH(score("rouge", "a", {{"a"}, {}}), Catch::Contains("unknown scorer 'rouge'") && Catch::Contains("rouge_l"));
  CHECK_THROWS_AS(scorer_needs_jieba("rouge"), ConfigError);
}

TEST_CASE("a reference that a scorer cannot use is refused", "[scorers][errors]") {
  CHECK_THROWS_WITH(score("qa_f1", "a", {{}, {}}), Catch::Contains("wanted at least one answer"));
  CHECK_THROWS_WITH(score("classification", "a", {{"a"}, {}}), Catch::Contains("wanted all_classes"));
  CHECK_THROWS_WITH(score("retrieval_en", "1", {{"Section 1"}, {}}), Catch::Contains("'Section 1'"));
  CHECK_THROWS_WITH(score("qa_f1_zh", "a", {{"a"}, {}}), Catch::Contains("scripts/bootstrap"));
}
