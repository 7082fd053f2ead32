// Rows of the calibration corpora by format, and the draw behind Alpaca's split.
#include "core/base/error.h"
#include "core/calibration/text_rows.h"
#include "tests/support/catch.h"

#include <algorithm>

using namespace mla;
using Catch::Matchers::Contains;
using Rows = std::vector<std::string>;

TEST_CASE("lines of a text are rows with their newline, those of ptb without blanks around them", "[calibration][rows]") {
  const std::string text = " = Title = \n \n\nA line .\nlast";
  CHECK(text_rows("wiki.train.raw", text, {}) == Rows{" = Title = \n", "A line .\n", "last"});
  CHECK(text_rows("ptb.train.txt", text, {.rule = "ptb"}) == Rows{"= Title =", "A line .", "last"});
}

TEST_CASE("JSON rows give their text field, whether lines, a list or a list under data", "[calibration][rows]") {
  const Rows wanted{"one", "two\n"};
  CHECK(text_rows("c4.json", "{\"text\": \"one\", \"url\": \"x\"}\n{\"text\": \"two\\n\"}\n{\"text\": \"\"}\n", {}) == wanted);
  CHECK(text_rows("a.jsonl", "{\"text\": \"one\"}\n\n{\"text\": \"two\\n\"}", {}) == wanted);
  CHECK(text_rows("a.json", R"([{"text": "one"}, {"text": "two\n"}])", {}) == wanted);
  CHECK(text_rows("a.json", R"({"data": [{"q": "one"}, {"q": "two\n"}]})", {.field = "q"}) == wanted);
  CHECK(text_rows("one.jsonl", R"({"text": "alone"})", {}) == Rows{"alone"});
}

TEST_CASE("Alpaca's rows are made of instruction, input and output where there is no text", "[calibration][rows]") {
  const Rows rows = text_rows("a.json", R"([{"instruction": "Add.", "input": "1 2", "output": "3"}, {"instruction": "Say hi.", "input": "", "output": "hi"}])", {});
  REQUIRE(rows.size() == 2);
  CHECK_THAT(rows[0], Contains("further context") && Contains("\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n3"));
  CHECK_THAT(rows[1], !Contains("Input:") && Contains("request.\n\n### Instruction:\nSay hi.\n\n### Response:\nhi"));
  CHECK(text_rows("a.json", R"([{"instruction": "Add.", "input": "", "output": "3"}])", {.field = "output"}) == Rows{"3"});
}

TEST_CASE("a row without the field is named, with the fields that are there", "[calibration][rows][errors]") {
  CHECK_THROWS_WITH(text_rows("a.jsonl", "{\"text\": \"x\"}\n{\"body\": \"y\"}", {}), Contains("a.jsonl, row 2") && Contains("body") && Contains("--cal-field"));
  CHECK_THROWS_WITH(text_rows("a.jsonl", "[3]", {}), Contains("row 1"));
  CHECK_THROWS_WITH(text_rows("a.jsonl", "{\"text\": \"x\"}\nnot json", {}), Contains("row 2 is not JSON"));
  CHECK_THROWS_AS(text_rows("a.json", "{\"text\": 3}", {}), CheckpointError);
}

// numpy.random.default_rng(42).permutation(n) of numpy 2.4.6
TEST_CASE("a permutation is the one that numpy draws", "[calibration][rows][oracle]") {
  CHECK(numpy_permutation(10, 42) == std::vector<int64_t>{5, 6, 0, 7, 3, 2, 4, 9, 1, 8});
  const std::vector<int64_t> alpaca = numpy_permutation(52002, 42);
  CHECK(std::vector<int64_t>(alpaca.begin(), alpaca.begin() + 5) == std::vector<int64_t>{31688, 10899, 13999, 10877, 6746});
  CHECK(numpy_permutation(1, 42) == std::vector<int64_t>{0});
  CHECK(numpy_permutation(0, 42).empty());
}

TEST_CASE("Alpaca's training part is what the split leaves, in its order", "[calibration][rows]") {
  std::string list;
  for (int i = 0; i < 10; ++i) list += (i == 0 ? "[" : ", ") + std::string("{\"text\": \"") + std::to_string(i) + "\"}";
  CHECK(text_rows("alpaca.json", list + "]", {.rule = "alpaca"}) == Rows{"0", "7", "3", "2", "4", "9", "1", "8"});  // 5 and 6 are tested on
}

TEST_CASE("a data set's rows become one text as GPTQ joins them", "[calibration][rows]") {
  CHECK(joined_rows("wiki.test.raw", " \n = Title = \n \n A sentence . \n", "wikitext") == "\n\n = Title = \n\n\n\n\n A sentence . \n");
  CHECK(joined_rows("ptb.test.txt", " no it was n't \n but <unk> \n", "ptb") == "no it was n't\n\nbut <unk>");
  CHECK(joined_rows("c4.json", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n", "json") == "a\n\nb");
  CHECK_THROWS_WITH(joined_rows("x", "y", "lines"), Catch::Contains("'lines'"));
}

TEST_CASE("Alpaca's test part is half of what training leaves", "[calibration][rows]") {
  std::string list = "[";
  for (int i = 0; i < 20; ++i) list += (i ? ", " : "") + std::string("{\"text\": \"") + std::to_string(i) + "\"}";
  const std::string test = joined_rows("alpaca.json", list + "]", "alpaca-test");
  const Rows training = text_rows("alpaca.json", list + "]", {.rule = "alpaca"});
  CHECK(std::count(test.begin(), test.end(), '\n') == 2);  // 16 train, 4 are left, of which 2 are tested on
  CHECK(std::find(training.begin(), training.end(), test.substr(0, test.find('\n'))) == training.end());
}
