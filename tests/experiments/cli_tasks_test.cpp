// Tasks from the command line: a task of the user's own, its rows, two runs beside each other.
#include <csignal>
#include <fstream>

#include "core/base/json.h"
#include "results/store.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"
#include "tests/support/no_model.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

void write_task(const TemporaryFolder& folder, bool good = true) {
  std::ofstream rows(folder / "capitals.jsonl");
  const char* const facts[][3] = {{"France", "Paris", "Rome"}, {"Italy", "Rome", "Madrid"}, {"Spain", "Madrid", "Paris"}, {"Japan", "Tokyo", "Berlin"}, {"Germany", "Berlin", "Tokyo"}};
  for (const auto& fact : facts) rows << Json{{"country", fact[0]}, {"cities", {fact[2], fact[1]}}, {"right", 1}}.dump() << '\n';
  if (!good) rows << "{\"country\": \"Peru\", \"cities\": [\"Lima\"]\n";
  std::ofstream(folder / "capitals.json") << Json{{"name", "capitals"}, {"version", 1}, {"protocol", "own"}, {"kind", "multiple_choice"},
      {"data", {{"file", (folder / "capitals.jsonl").string()}, {"how", "the test writes it"}}},
      {"prompt", "Question: What is the capital of {country}?\nAnswer:"}, {"choices", "{cities}"}, {"gold", {{"column", "right"}}}, {"metrics", {"acc", "acc_norm"}}}.dump();
}

std::vector<std::string> words(const std::vector<std::string>& more) {
  std::vector<std::string> all{"eval", "--model", smollm2().string(), "--tasks", "capitals.json", "--store", "runs.db"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

TEST_CASE("a run answers tasks with the converted model, a sweep with the original too, and neither answers twice", "[cli][tasks][sweep]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_task(folder);
  const std::vector<std::string> run{"run", "--model", smollm2().string(), "--method", "mha2mla", "--rope-selection", "high", "--rope-dim", "64", "--svd", "none",
                                     "--tasks", "capitals.json", "--threads", "1", "--store", "runs.db", "--skip-done", "--format", "json"};
  const Finished first = mlaforge(folder.path(), run), again = mlaforge(folder.path(), run);
  INFO(first.err);
  REQUIRE(first.code == 0);
  const Json outcome = Json::parse(first.out);
  CHECK(outcome.at("tasks")[0].at("metrics")[0].at("stage") == "mla");
  CHECK(Json::parse(again.out).at("run_id") == outcome.at("run_id"));
  CHECK(Store::open_read_only(folder / "runs.db").runs().size() == 1);

  std::ofstream(folder / "sweep.json") << Json{{"name", "capitals"}, {"base", {{"model", smollm2().string()}, {"tasks", {"capitals.json"}}}},
      {"grids", {{{"method", "original"}}, {{"method", "mha2mla"}, {"rope_selection", "high"}, {"rope_dim", 64}, {"svd", "none"}}}}}.dump();
  const Finished sweep = mlaforge(folder.path(), {"sweep", "sweep.json", "--threads", "1", "--store", "runs.db"});
  INFO(sweep.err);
  REQUIRE(sweep.code == 0);
  CHECK_THAT(sweep.out, Contains("2 of 2 done"));
  const Store store = Store::open_read_only(folder / "runs.db");
  REQUIRE(store.runs().size() == 2);  // the converted model's answers were there
  const auto metrics = [&](int64_t id) { return store.read_run(id).second.at(0).value; };
  CHECK(metrics(1) == metrics(2));  // every rotary pair is kept and nothing is cut: the original

  const Finished both = mlaforge(folder.path(), {"run", "--model", smollm2().string(), "--method", "original", "--tasks", "capitals.json", "--corpus", "capitals.jsonl"});
  CHECK(both.code == 2);
  CHECK_THAT(both.err, Contains("--corpus"));
  CHECK(mlaforge(folder.path(), {"run", "--model", smollm2().string(), "--method", "mha2mla"}).code == 2);  // neither a text nor a task
}

TEST_CASE("a user's task is scored, stored item by item, and compared between runs", "[cli][tasks]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_task(folder);

  const Finished finished = mlaforge(folder.path(), words({"--format", "json"})), again = mlaforge(folder.path(), words({"--batch-size", "1"}));

  REQUIRE(finished.code == 0);
  REQUIRE(again.code == 0);
  const Json result = Json::parse(finished.out);
  CHECK(result[0]["task"] == "capitals");
  CHECK(result[0]["metrics"][0]["items"] == 5);
  CHECK(result[0]["metrics"][0]["value"].get<double>() >= 0.6);  // a language model knows most of these
  const Store store = Store::open_read_only(folder / "runs.db");
  CHECK(store.answers(1).size() == 5);

  const Finished exported = mlaforge(folder.path(), {"export", "1", "--store", "runs.db", "--log-samples", "samples"});
  const Finished table = mlaforge(folder.path(), {"export", "1", "--store", "runs.db", "--format", "lm-eval-table", "--out", "table.md"});
  CHECK(exported.code == 0);
  CHECK(Json::parse(exported.out)["results"]["capitals"]["acc,none"] == result[0]["metrics"][0]["value"]);
  CHECK(Json::parse(exported.out)["n-shot"]["capitals"] == 0);
  CHECK(std::distance(fs::directory_iterator(folder / "samples"), {}) == 1);
  CHECK(table.out.empty());
  CHECK(fs::file_size(folder / "table.md") > 200);
  CHECK(mlaforge(folder.path(), {"export", "1", "2", "--store", "runs.db"}).code == 2);  // one task twice

  const Finished shown = mlaforge(folder.path(), {"samples", "1", "--store", "runs.db"});
  CHECK_THAT(shown.out, Contains("capitals") && Contains("Prediction"));
  const Finished compared = mlaforge(folder.path(), {"samples", "1", "--against", "2", "--store", "runs.db"});
  CHECK(compared.code == 0);
  CHECK_THAT(compared.out, Contains("5 items") && Contains("0 scores differ"));  // batches of one and of five agree
}

TEST_CASE("what is wrong with a task or its data is said before a model is read", "[cli][tasks][errors]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_task(folder, false);
  const Finished bad_row = mlaforge(folder.path(), words({}));
  CHECK(bad_row.code == 3);
  CHECK_THAT(bad_row.err, Contains("capitals.jsonl:6"));
  CHECK_FALSE(fs::exists(folder / "runs.db"));

  const Finished unknown = mlaforge(folder.path(), {"eval", "--model", smollm2().string(), "--tasks", "arc_eazy", "--store", "runs.db"});
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.err, Contains("arc_easy"));
  const Finished missing = mlaforge(folder.path(), {"eval", "--model", smollm2().string(), "--tasks", "hellaswag", "--data-root", folder.path().string(), "--store", "runs.db"});
  CHECK(missing.code == 3);
  CHECK_THAT(missing.err, Contains(folder.path().string()));
  const Finished neither = mlaforge(folder.path(), {"eval", "--model", smollm2().string()});
  CHECK(neither.code == 2);
  CHECK_THAT(neither.err, Contains("--corpus") && Contains("--tasks"));
  CHECK(mlaforge(folder.path(), {"samples", "1", "--store", "runs.db"}).code != 0);
}

TEST_CASE("a chat template around a task is part of its protocol and of the stored configuration", "[cli][tasks][chat]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_task(folder);

  const Finished wrapped = mlaforge(folder.path(), words({"--apply-chat-template", "--format", "json"})), both = mlaforge(folder.path(), words({"--template", "auto", "--truncate", "tokens"}));
  const Finished text = mlaforge(folder.path(), {"eval", "--model", smollm2().string(), "--corpus", "capitals.jsonl", "--template", "auto"});

  REQUIRE(wrapped.code == 0);
  CHECK(Json::parse(wrapped.out)[0]["protocol"] == "own/v1/chat-smollm2");
  const auto [record, metrics] = Store::open_read_only(folder / "runs.db").read_run(1);
  CHECK(record.config["chat_template"]["name"] == "smollm2");
  CHECK(record.config["chat_template"]["sha256"].get<std::string>().size() == 64);
  CHECK(both.code == 2);
  CHECK_THAT(both.err, Contains("--truncate"));
  CHECK(text.code == 2);
  CHECK_THAT(text.err, Contains("--template"));
}
