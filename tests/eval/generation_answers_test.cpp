// What SmolLM2 writes at fp32 against the original programs (tests/oracle/generation_answers.py): lm-evaluation-harness's GSM8K, LongBench's
// multi_news. The first items of each; MLAFORGE_ALL_ANSWERS=1 takes all that are recorded.
#include "core/base/files.h"
#include "core/base/json.h"
#include "core/base/sha256.h"
#include "eval/task_runner.h"
#include "tests/eval/answer_rows.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"
#include "tests/support/smollm2.h"

using namespace mla;
using namespace mla::test;

namespace {

// Rows of the first items, in their order; empty where model or data are not here.
std::vector<AnswerRow> answers_to(const std::string& name, int64_t count, int64_t max_length) {
  const RealModel* real = real_model();
  const fs::path text = wikitext2("test.txt");
  if (real == nullptr) return {};
  if (text.empty()) return skip("the data root is not here"), std::vector<AnswerRow>{};
  const fs::path root = text.parent_path().parent_path();
  const TaskSpec spec = find_task(name);
  if (!is_there(spec.data, root)) return skip(name + "'s data are not in the data root"), std::vector<AnswerRow>{};
  DecoderModel model(real->decoder);
  AnswerRows rows;
  answer_task({spec, build_items(spec, root, {.limit = count}), *real->tokenizer}, {{"original", &model}}, {.max_length = max_length, .batch = 4}, {}, rows);
  std::sort(rows.rows.begin(), rows.rows.end(), [](const AnswerRow& a, const AnswerRow& b) { return a.position < b.position; });
  return rows.rows;
}

int64_t taken(const Json& recorded, int64_t few) {
  return environment("MLAFORGE_ALL_ANSWERS").empty() ? few : static_cast<int64_t>(recorded.size());
}

}  // namespace

TEST_CASE("GSM8K with five shots is answered as lm-evaluation-harness has it answered, and scored so", "[tasks][golden]") {
  const Json golden = read_json_file(mla::test::golden("generation_answers.json")).at("gsm8k");
  const std::vector<AnswerRow> rows = answers_to("gsm8k", taken(golden, 5), 2048);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    INFO("item " << i);
    CHECK(sha256_hex(rows[i].prediction).substr(0, 16) == golden[i].at("sha256"));
    for (const auto& [filter, score] : golden[i].at("scores").items()) CHECK(Json::parse(rows[i].detail).at("metrics").at("exact_match," + filter) == score);
  }
}

TEST_CASE("LongBench's multi_news, cut to 3500 tokens, is answered as pred.py has it answered, and scored so", "[tasks][golden]") {
  const Json golden = read_json_file(mla::test::golden("generation_answers.json")).at("multi_news");
  const std::vector<AnswerRow> rows = answers_to("longbench/multi_news", taken(golden, 1), 3500);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    INFO("item " << i);
    CHECK(rows[i].tokens == golden[i].at("tokens"));
    CHECK(sha256_hex(rows[i].prediction).substr(0, 16) == golden[i].at("sha256"));
    CHECK(rows[i].score == Approx(golden[i].at("score").get<double>()).margin(1e-9));
  }
}
