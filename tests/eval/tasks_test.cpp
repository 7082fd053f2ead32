// Tasks as data: what task files may say, what rows may hold, and the items that come of them.
#include <fstream>
#include <set>

#include "core/base/error.h"
#include "core/base/files.h"
#include "eval/instruct_rows.h"
#include "eval/needle.h"
#include "eval/task_items.h"
#include "eval/task_steps.h"
#include "eval/task_template.h"
#include "eval/truncate.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

Json own_task() {
  return Json::parse(R"({"name": "colours", "version": 1, "protocol": "own", "kind": "multiple_choice", "data": {"file": "rows.jsonl"},
    "prompt": "{q}\nA:", "choices": "{options}", "gold": {"column": "right"}, "metrics": ["acc"]})");
}

TaskSpec spec_of(const Json& json) { return parse_task_specs(json.dump(), "own.json").at(0); }

void write(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

TaskItems items_of(const Json& task, const std::string& rows, const ItemOptions& options = {}) {
  const TemporaryFolder folder;
  write(folder / "rows.jsonl", rows);
  return build_items(spec_of(task), folder.path(), options);
}

}  // namespace

TEST_CASE("the program has every task that the protocols name, 34 of them LongBench's", "[tasks]") {
  std::set<std::string> names;
  std::size_t longbench = 0;
  for (const TaskSpec& spec : builtin_tasks()) {
    names.insert(spec.name);
    longbench += spec.kind == TaskKind::longbench;
    CHECK(!spec.data.how.empty());
    CHECK(!spec.data.licence.empty() == (spec.kind != TaskKind::needle));
    CHECK((spec.metrics.empty() != spec.scores.empty()));
  }
  CHECK(longbench == 21 + 13);
  for (const char* name : {"arc_easy", "arc_challenge", "piqa", "openbookqa", "winogrande", "winogrande@full", "hellaswag", "mmlu", "mmlu@cloze",
                           "commonsense_qa", "boolq", "boolq@llm-adapters", "social_iqa", "mmlu_pro", "gsm8k", "niah", "arc_easy@lighteval",
                           "trivia_qa@lighteval", "gsm8k@lighteval", "bbh@lighteval", "mmlu_pro@lighteval", "longbench/samsum", "longbench_e/lcc"})
    CHECK(names.count(name) == 1);
}

TEST_CASE("every row of the instruction files is parsed, and so spelt again byte for byte", "[tasks]") {
  const auto [name, rows] = GENERATE(table<std::string, std::size_t>({{"arc_easy", 2376}, {"arc_challenge", 1172}, {"social_iqa", 1954}, {"openbookqa", 500},
                                                                      {"boolq@llm-adapters", 3270}, {"piqa", 1838}, {"winogrande", 1267}}));
  const TaskSpec spec = find_task(name);
  const fs::path root = data_root_with(spec.data.file);
  if (root.empty()) return skip("the data root lacks " + spec.data.file);

  const TaskItems items = build_items(spec, root);

  INFO(name);
  CHECK(items.choices.size() == rows);
  CHECK(static_cast<std::size_t>(spec.data.rows) == rows);
  CHECK(items.warnings.empty());
}

TEST_CASE("an instruction row that is spelt otherwise is refused, not guessed at", "[tasks][errors]") {
  const std::string text = "Please choose the correct answer to the question: Which?\n\nAnswer1: a Answer2: b\n\nAnswer format: answer1/answer2";
  const auto parse = [](const std::string& instruction, const std::string& answer) {
    return parse_instruct_row({{"instruction", instruction}, {"answer", answer}, {"output", "the correct answer is " + answer}}, "instruct-arc", "f:1");
  };
  CHECK(parse(text, "answer2")["choices"]["text"] == Json({"a", "b"}));
  CHECK(parse(text, "answer2")["answerKey"] == "B");
  CHECK_THROWS_WITH(parse(text, "answer3"), Contains("f:1") && Contains("answer3"));
  CHECK_THROWS_AS(parse(text + " ", "answer1"), CheckpointError);
  CHECK_THROWS_AS(parse("Please choose" + text, "answer1"), CheckpointError);
  CHECK_THROWS_WITH(parse("Please choose the correct answer to the question: Which?\n\nAnswer1: a Answer2: b Answer2: c\n\nAnswer format: answer1/answer2", "answer1"),
                    Contains("twice"));
}

TEST_CASE("templates fill columns, parts of columns and filters, and double braces stay", "[tasks]") {
  const Json row = Json::parse(R"({"a": " x ", "b": {"c": ["p ", "q"]}, "n": 7, "s": "high_school_math"})");
  CHECK(render("{{{a|strip}}} {n}", row, "r") == "{x} 7");
  CHECK(render("{s|spaces}\n{b.c|strip|listed}", row, "r") == "high school math\nA. p\nB. q\n");
  CHECK(render_list("{b.c}", row, "r") == std::vector<std::string>{"p ", "q"});
  CHECK(render_list("{b.c|letters}", row, "r") == std::vector<std::string>{"A", "B"});
  CHECK_THROWS_WITH(render("{missing}", row, "f:3"), Contains("f:3") && Contains("a, b, n, s"));
  CHECK_THROWS_WITH(check_template("{a|stirp}", "t"), Contains("did you mean 'strip'"));
  CHECK_THROWS_AS(check_template("{a", "t"), ConfigError);
  CHECK_THROWS_AS(check_template("a}", "t"), ConfigError);
}

TEST_CASE("a column's text is never read as a template", "[tasks]") {
  CHECK(render("{a}", {{"a", "{b} {{"}, {"b", "no"}}, "r") == "{b} {{");
}

TEST_CASE("a task file with an unknown key is refused with the nearest known one", "[tasks][errors]") {
  Json task = own_task();
  task["promt"] = "x";
  CHECK_THROWS_WITH(spec_of(task), Contains("promt") && Contains("did you mean 'prompt'"));
  task = own_task();
  task["gold"]["colum"] = "x";
  CHECK_THROWS_WITH(spec_of(task), Contains("gold") && Contains("did you mean 'column'"));
  task = own_task();
  task["metrics"] = {"acc_nrom"};
  CHECK_THROWS_WITH(spec_of(task), Contains("did you mean 'acc_norm'"));
  task = own_task();
  task["kind"] = "multiple_choices";
  CHECK_THROWS_WITH(spec_of(task), Contains("did you mean 'multiple_choice'"));
  CHECK_THROWS_AS(parse_task_specs("{", "own.json"), ConfigError);
  CHECK_THROWS_AS(parse_task_specs("[]", "own.json"), ConfigError);
  CHECK_THROWS_WITH(find_task("arc_esay"), Contains("did you mean 'arc_easy'"));
}

TEST_CASE("a required key that is not there is named", "[tasks][errors]") {
  const std::string key = GENERATE("name", "version", "protocol", "kind", "data", "prompt", "choices", "gold", "metrics");
  Json task = own_task();
  task.erase(key);
  INFO(key);
  CHECK_THROWS_WITH(spec_of(task), Contains(key) || Contains("gold"));
}

TEST_CASE("a task of one's own gives requests, gold and lengths in characters and bytes", "[tasks]") {
  const TaskItems items = items_of(own_task(), "{\"q\": \"Sky?\", \"options\": [\"bl\u00fc\", \"red\"], \"right\": \"1\"}\n");
  REQUIRE(items.choices.size() == 1);
  const ChoiceItem& item = items.choices[0];
  CHECK(item.requests == std::vector<std::pair<std::string, std::string>>{{"Sky?\nA:", " bl\u00fc"}, {"Sky?\nA:", " red"}});
  CHECK(item.gold == 1);
  CHECK(item.choice_chars == std::vector<int64_t>{3, 3});
  CHECK(item.choice_bytes == std::vector<int64_t>{4, 3});
}

TEST_CASE("bad rows name their file and line", "[tasks][errors]") {
  const std::string good = "{\"q\": \"a\", \"options\": [\"x\", \"y\"], \"right\": 0}\n";
  const std::string bad = GENERATE("not json", "[1]", "{\"q\": \"\xff\", \"options\": [\"x\", \"y\"], \"right\": 0}", "{\"q\": \"a\", \"options\": [\"x\"], \"right\": 0}",
                                   "{\"q\": \"a\", \"options\": [\"x\", \"y\"], \"right\": 2}", "{\"q\": \"a\", \"right\": 0}", "",
                                   "{\"q\": {}, \"options\": [\"x\", \"y\"], \"right\": 0}", "{\"q\": \"a\", \"q\": \"b\", \"options\": [\"x\", \"y\"], \"right\": 0}");
  INFO(bad);
  CHECK_THROWS_WITH(items_of(own_task(), good + bad + "\n" + good), Contains("rows.jsonl:2"));
  CHECK(items_of(own_task(), good + good).choices.size() == 2);
}

TEST_CASE("a task file or a row cut anywhere is refused, never half read", "[tasks][errors]") {
  const std::string task = own_task().dump(), rows = "{\"q\": \"a\", \"options\": [\"x\", \"\u00fc\"], \"right\": 0}";
  for (std::size_t size = 0; size < task.size(); ++size) CHECK_THROWS_AS(parse_task_specs(task.substr(0, size), "own.json"), ConfigError);
  for (std::size_t size = 0; size < rows.size(); ++size) CHECK_THROWS_AS(items_of(own_task(), rows.substr(0, size)), CheckpointError);
  CHECK(items_of(own_task(), rows).choices.size() == 1);
}

TEST_CASE("missing data says where it was looked for and how to get it", "[tasks][errors]") {
  Json task = own_task();
  task["data"]["how"] = "ask the painter";
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(build_items(spec_of(task), folder.path()), Contains((folder / "rows.jsonl").string()) && Contains("ask the painter"));
  CHECK_THROWS_WITH(build_items(spec_of(task), {}), Contains("--data-root"));
}

TEST_CASE("data that differ from what the task names are used with a warning", "[tasks]") {
  Json task = own_task();
  task["data"]["sha256"] = std::string(64, '0');
  task["data"]["rows"] = 5;
  CHECK(items_of(task, "{\"q\": \"a\", \"options\": [\"x\", \"y\"], \"right\": 0}\n").warnings.size() == 2);
}

TEST_CASE("a pool that is the task's own file never gives an item itself as an example", "[tasks]") {
  Json task = own_task();
  task["few_shot"] = {{"count", 2}, {"pool", {{"file", "rows.jsonl"}}}};
  std::string rows;
  for (int i = 0; i < 4; ++i) rows += "{\"q\": \"q" + std::to_string(i % 3) + "\", \"options\": [\"x\", \"y\"], \"right\": 0}\n";
  const TaskItems items = items_of(task, rows);
  REQUIRE(items.choices.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    const std::string context = items.choices[i].requests[0].first, question = "q" + std::to_string(i % 3) + "\nA:";
    CHECK(context.find(question) == context.size() - question.size());  // only at the end
    CHECK(context.size() == 2 * std::string("q0\nA: x\n\n").size() + question.size());
  }
  CHECK_THROWS_AS(items_of(task, rows, {.shots = 9}), ConfigError);
  CHECK_THROWS_AS(items_of(own_task(), rows, {.shots = 1}), ConfigError);
}

TEST_CASE("hellaswag's cleaning and Python's capitalize", "[tasks]") {
  CHECK(capitalize("hELLO \u00c4\u03a3") == "Hello \u00e4\u03c2");
  CHECK(capitalize("\u00dfa") == "Ssa");
  CHECK(capitalize("").empty());
  Json row = {{"activity_label", " Title"}, {"ctx_a", "A [title] b   c [x]d [open"}, {"ctx_b", "eND "}, {"endings", {" one [step] two ", "z"}}};
  Json lighteval = row;
  run_step("hellaswag", row, "r");
  run_step("hellaswag-lighteval", lighteval, "r");
  CHECK(row["query"] == "Title: A. b  c d [open End");
  CHECK(row["choices"] == Json({"one two", "z"}));
  CHECK(lighteval["query"] == " Title: A. b  c d [open End ");
  CHECK(lighteval["choices"] == Json({" one two ", "z"}));
}

TEST_CASE("trivia_qa's candidates leave out aliases that begin with another", "[tasks]") {
  Json row = {{"answer", {{"aliases", {"U.S.A.", "U.S.", "America"}}}}};
  run_step("trivia_qa", row, "r");
  CHECK(row["candidates"] == Json({"america", "us"}));
}

TEST_CASE("a needle lies at its depth in a prompt of about the length asked for", "[tasks]") {
  if (smollm2().empty()) return skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  const auto tokenizer = Tokenizer::load(smollm2());
  const TemporaryFolder folder;
  fs::create_directory(folder / "niah");
  std::string text;
  for (int i = 0; i < 400; ++i) text += "Sentence number " + std::to_string(i) + " says little. ";
  write(folder / "niah/haystack.txt", text);
  TaskSpec spec = find_task("niah");
  spec.needle.lengths = {256, 1024};

  const TaskItems items = needle_items(spec, folder.path(), *tokenizer);

  REQUIRE(items.generations.size() == 2 * spec.needle.depths.size());
  CHECK(items.generations[1].id == "256@0.25");
  for (std::size_t i = 0; i < items.generations.size(); ++i) {
    const GenerationItem& item = items.generations[i];
    const std::string needle = "is " + item.answers.at(0) + ".";
    const std::size_t at = item.prompt.find(needle);
    REQUIRE(at != std::string::npos);
    CHECK(item.prompt.find(item.answers[0], at + needle.size()) == std::string::npos);
    const double place = static_cast<double>(at) / static_cast<double>(item.prompt.size());
    CHECK(std::abs(place - spec.needle.depths[i % 5]) < 0.35);
    const auto tokens = static_cast<int64_t>(tokenizer->encode(item.prompt).size());
    CHECK(std::abs(tokens - item.length) <= 8);
  }
  CHECK(needle_items(spec, folder.path(), *tokenizer).generations[3].prompt == items.generations[3].prompt);
}
