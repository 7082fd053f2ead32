// Results and tables as lm-evaluation-harness writes them: its own make_table on what we export (tests/oracle/lm_eval_table.py).
#include <fstream>

#include "core/base/error.h"
#include "core/base/json.h"
#include "results/lm_eval_export.h"
#include "results/lm_eval_table.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;
using OrderedJson = nlohmann::ordered_json;

namespace {

int64_t add_task_run(Store& store, const SampleRun& run, const std::vector<Metric>& metrics, const std::vector<AnswerRow>& answers, Json task = Json::object()) {
  RunRecord record = sample_record(run);
  task["name"] = run.corpus;
  record.config["task"] = task;
  record.inputs.push_back({"reference", "original.gguf", sha256_hex("original")});
  const int64_t id = store.begin_run(record);
  store.answer_sink(id)->add(answers);
  store.finish_run(id, record, metrics);
  return id;
}

AnswerRow choice(int64_t position, const std::string& stage, double right) {
  return {"arc_easy", stage, position, "id" + std::to_string(position), sha256_hex("prompt"), right > 0 ? "1" : "0", "1", right, 4,
          Json{{"ll", {-2.5, -1.25}}, {"greedy", {false, true}}, {"metrics", {{"acc", right}, {"acc_norm", 1.0}}}}.dump()};
}

// Two tasks, both stages, a task with two filters.
void fill(Store& store) {
  const std::string choices = "lm-eval/v1", generated = "lm-eval/v3/shots2";
  add_task_run(store, {.corpus = "arc_easy", .protocol = choices},
               {{"acc", "mla", choices, 0.5, 0.25, 2, "1", Better::higher}, {"acc", "original", choices, 1, 0.0, 2, "1", Better::higher},
                {"acc_norm", "mla", choices, 0.75, 0.125, 2, "1", Better::higher}, {"kld_gold", "mla", choices, 0.03125, 0.0078125, 2, "nats", Better::lower}},
               {choice(0, "mla", 1), choice(1, "mla", 0), choice(0, "original", 1), choice(1, "original", 1)}, {{"shots", 0}, {"max_length", 2048}, {"batch", 0}, {"limit", 0}});
  add_task_run(store, {.corpus = "gsm8k", .protocol = generated},
               {{"exact_match,strict-match", "mla", generated, 0.25, 0.1, 4, "1", Better::higher}, {"exact_match,flexible-extract", "mla", generated, 1, std::nullopt, 4, "1", Better::higher}},
               {{"gsm8k", "mla", 0, "0", sha256_hex("p"), "The answer is\n#### 4", "#### 4", 1, 7, R"({"length":3,"metrics":{"exact_match,flexible-extract":1.0,"exact_match,strict-match":1.0}})"}});
}

}  // namespace

TEST_CASE("tables are make_table's, character by character", "[results][lm-eval][golden]") {
  const Json golden = read_json_file(mla::test::golden("lm_eval_table.json"));
  REQUIRE(golden.at("cases").size() > 100);
  for (const Json& one : golden.at("cases")) {
    INFO(one.at("table").get<std::string>());
    CHECK(write_lm_eval_table(OrderedJson::parse(one.at("results").dump())) == one.at("table").get<std::string>());
  }
}

TEST_CASE("an export has the keys, the values and the table that lm_eval's results have", "[results][lm-eval][golden]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  fill(store);

  const OrderedJson out = lm_eval_results(store, {});

  const Json golden = read_json_file(mla::test::golden("lm_eval_table.json"));
  CHECK(Json::parse(out.dump()) == golden.at("export").at("results"));
  CHECK(write_lm_eval_table(out) == golden.at("export").at("table").get<std::string>());
  for (const std::string& key : golden.at("keys").get<std::vector<std::string>>()) {  // of simple_evaluate's result, but for what describes torch and a HF tokenizer
    INFO(key);
    CHECK(out.contains(key));
  }
  CHECK(out["results"]["arc_easy"]["acc,none"] == 0.5);
  CHECK(out["results"]["arc_easy"]["acc_stderr,none"] == 0.25);
  CHECK(out["results"]["gsm8k"]["exact_match,strict-match"] == 0.25);
  CHECK(out["results"]["gsm8k"]["exact_match_stderr,flexible-extract"] == "N/A");
  CHECK(out["higher_is_better"]["arc_easy"]["kld_gold"] == false);
  CHECK(out["n-shot"]["arc_easy"] == 0);
  CHECK(out["n-shot"]["gsm8k"] == 2);
  CHECK(out["versions"]["gsm8k"] == 3);
  CHECK(out["n-samples"]["arc_easy"]["effective"] == 2);
  CHECK(out["date"] == 1769860800.0);  // 2026-01-31T12:00:00Z
  CHECK(lm_eval_results(store, {.runs = {1}, .model = "", .stage = "original"})["results"]["arc_easy"]["acc,none"] == 1);
  CHECK(lm_eval_results(store, {.runs = {1}, .model = "", .stage = "original"})["model_name"] == "original.gguf");
}

// Writes what the oracle reads: MLAFORGE_RECORD=FILE test_results "[record]"
TEST_CASE("the export that the oracle reads is written", "[.record]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  fill(store);
  std::ofstream(environment("MLAFORGE_RECORD")) << lm_eval_results(store, {}).dump(1);
}

TEST_CASE("samples have a line per item and filter", "[results][lm-eval]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  fill(store);

  const std::vector<LmEvalSamples> samples = lm_eval_samples(store, {});

  REQUIRE(samples.size() == 2);
  CHECK(samples[0].file_name == "samples_arc_easy_2026-01-31T12-00-00Z.jsonl");
  const std::string first = samples[0].text.substr(0, samples[0].text.find('\n'));
  const Json line = Json::parse(first);
  CHECK(line["doc_id"] == 0);
  CHECK(line["target"] == "1");
  CHECK(line["filtered_resps"] == Json::parse(R"([["-2.5", "False"], ["-1.25", "True"]])"));
  CHECK(line["resps"] == Json::parse(R"([[["-2.5", "False"]], [["-1.25", "True"]]])"));
  CHECK(line["filter"] == "none");
  CHECK(line["acc"] == 1.0);
  CHECK(line["metrics"] == Json{"acc", "acc_norm"});
  CHECK(std::count(samples[1].text.begin(), samples[1].text.end(), '\n') == 2);
  const Json generated = Json::parse(samples[1].text.substr(0, samples[1].text.find('\n')));
  CHECK(generated["filter"] == "flexible-extract");
  CHECK(generated["exact_match"] == 1.0);
  CHECK(generated["filtered_resps"] == Json{"The answer is\n#### 4"});
}

TEST_CASE("what one results file cannot hold is refused", "[results][lm-eval][errors]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  CHECK_THROWS_WITH(lm_eval_results(store, {}), Contains("eval --tasks"));
  fill(store);
  const int64_t text = add_done(store);
  CHECK_THROWS_WITH(lm_eval_results(store, {.runs = {text}, .model = "", .stage = ""}), Contains("wanted runs over tasks"));
  CHECK_THROWS_WITH(lm_eval_results(store, {.runs = {99}, .model = "", .stage = ""}), Contains("no run 99"));
  CHECK_THROWS_WITH(lm_eval_results(store, {.runs = {2}, .model = "", .stage = "original"}), Contains("stage original"));
  CHECK_THROWS_WITH(lm_eval_results(store, {.runs = {1, 1}, .model = "", .stage = ""}), Contains("one run of each task"));
  const int64_t other = add_task_run(store, {.model = "another", .corpus = "piqa", .protocol = "lm-eval/v1"}, {{"acc", "mla", "lm-eval/v1", 0.5, 0.25, 2, "1", Better::higher}}, {});
  CHECK_THROWS_WITH(lm_eval_results(store, {.runs = {1, other}, .model = "", .stage = ""}), Contains("runs of one model") && Contains("another"));
  CHECK_THROWS_AS(write_lm_eval_table(OrderedJson::array()), ConfigError);
}
