// What generates, from the command line: both ways print and store the same, and the store says which it was.
#include <fstream>

#include "core/base/json.h"
#include "results/store.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"
#include "tests/support/drawn_checkpoint.h"
#include "tests/support/no_model.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

const Words kLatent{"--method", "transmla", "--freqfold", "2", "--qk-mqa-dim", "8", "--kv-lora-rank", "8", "--calibration-ids", "ids.json", "--threads", "1"};
const Words kRebuilt{"--method", "transmla_converter", "--latent-dim", "8", "--threads", "1"};
const Words kDoesNotMatter{"decode", "load_seconds", "first_token_seconds", "tokens_per_second"};

Json without(Json result, const Words& keys) {
  for (const std::string& key : keys) result.erase(key);
  return result;
}

void convert(const TemporaryFolder& folder, const std::string& model, const std::string& out, const Words& method) {
  const Finished finished = mlaforge(folder.path(), Words{"convert", "--model", model, "--out", out} + method);
  INFO(finished.err);
  REQUIRE(finished.code == 0);
}

// The engine's output is LibTorch's, as text and as JSON. Returns the JSON.
Json check_both(const TemporaryFolder& folder, const std::string& model, const Words& more) {
  const Words words = Words{"generate", "--model", model, "--threads", "1"} + more;
  const auto printed = [&](const char* way, const char* format) {
    const Finished finished = mlaforge(folder.path(), words + Words{"--decode", way, "--format", format});
    INFO(finished.err);
    REQUIRE(finished.code == 0);
    return finished.out;
  };
  const Json wanted = Json::parse(printed("libtorch", "json")), got = Json::parse(printed("engine", "json")), by_itself = Json::parse(printed("auto", "json"));
  CHECK(without(got, kDoesNotMatter) == without(wanted, kDoesNotMatter));
  CHECK(got["decode"] == Json{{"way", "engine"}});
  CHECK(wanted["decode"] == Json{{"way", "libtorch"}});
  CHECK(printed("engine", "text") == printed("libtorch", "text"));
  CHECK(without(by_itself, kDoesNotMatter) == without(wanted, kDoesNotMatter));
  return got;
}

void write_task(const TemporaryFolder& folder) {
  std::ofstream(folder / "letters.jsonl") << Json{{"text", "abc"}, {"next", "def"}}.dump() << '\n' << Json{{"text", "xy"}, {"next", "z"}}.dump() << '\n';
  std::ofstream(folder / "letters.json") << Json{{"name", "letters"}, {"version", 1}, {"protocol", "own"}, {"kind", "generation"},
      {"data", {{"file", (folder / "letters.jsonl").string()}, {"how", "the test writes it"}}}, {"prompt", "{text}"},
      {"generation", {{"max_new_tokens", 5}, {"stop", {"\n"}}, {"answers", {"{next}"}}}}, {"scores", {{"exact", "quasi_exact_match@lighteval"}}}}.dump();
}

}  // namespace

TEST_CASE("generate prints the same through both ways, of a drawn model and its conversion", "[cli][generate][engine]") {
  const TemporaryFolder folder;
  write_drawn_checkpoint(folder.path());
  convert(folder, "model", "converted", kLatent);
  for (const char* model : {"model", "converted"}) CHECK(check_both(folder, model, {"--prompt", "abcxyz", "-n", "40"})["ids"].size() == 40);
  const Json integers = check_both(folder, "model", {"--prompt", "abcxyz", "-n", "9", "--kv-cache", "int8", "--kv-group-size", "8", "--kv-residual", "3"});
  CHECK(integers["kv_cache"] == "int8-g8-r3-token-quanto");
  CHECK(integers["cache_tokens"] == 14);
}

TEST_CASE("generate says the same through both ways, of the demo's model and its conversion, and ends at the turn's end", "[cli][generate][engine]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  convert(folder, smollm2().string(), "converted", {"--method", "mha2mla", "--rope-selection", "high", "--rope-dim", "32", "--svd", "joint", "--low-rank", "24"});
  CHECK_THAT(check_both(folder, smollm2().string(), {"--prompt", "The capital of France is", "-n", "8"})["text"].get<std::string>(), Contains("Paris"));
  check_both(folder, "converted", {"--prompt", "The capital of France is", "-n", "8"});
  const Json turn = check_both(folder, smollm2().string(), {"--chat", "--prompt", "What is the capital of France?", "-n", "24"});
  CHECK(turn["ids"].size() < 24);
  CHECK(turn["cache_tokens"] == turn["ids"].size() + turn["prompt_ids"].size());
}

TEST_CASE("what the engine does not hold is refused before anything is printed, with what to do", "[cli][generate][engine][errors]") {
  const TemporaryFolder folder;
  write_drawn_checkpoint(folder.path());
  convert(folder, "model", "rebuilt", kRebuilt);
  std::ofstream(folder / "text.txt") << "abcdefgh";
  const auto refused = [&](const Words& words, const char* text) {
    const Finished finished = mlaforge(folder.path(), words);
    CHECK(finished.code == 2);
    CHECK(finished.out.empty());
    CHECK_THAT(finished.err, Contains(text));
    return finished.err;
  };
  const Words generate{"generate", "--prompt", "abc", "--decode", "engine", "--model"};
  CHECK_THAT(refused(generate + Words{"model", "--kv-cache", "int2"}, "8 or 4 bits"), Contains("--decode libtorch"));
  CHECK_THAT(refused(generate + Words{"rebuilt"}, "rebuilds its keys"), Contains("--decode libtorch"));
  refused({"compare", "model", "rebuilt", "--prompt", "abc", "--tokens", "3", "--decode", "engine"}, "rebuilds its keys");
  refused({"generate", "--model", "model", "--prompt", "abc", "--decode", "engin"}, "engine");
  refused({"eval", "--model", "model", "--corpus", "text.txt", "--window", "4", "--decode", "engine"}, "--tasks");
}

TEST_CASE("compare lets each side generate in the way that was asked for, and says so", "[cli][compare][engine]") {
  const TemporaryFolder folder;
  write_drawn_checkpoint(folder.path());
  convert(folder, "model", "converted", kLatent);
  const Words compare{"compare", "model", "converted", "--prompt", "abcxyz", "--tokens", "9", "--threads", "1"};
  const Finished engine = mlaforge(folder.path(), compare + Words{"--decode", "engine", "--format", "json"}), libtorch = mlaforge(folder.path(), compare + Words{"--format", "json"});
  INFO(engine.err << libtorch.err);
  REQUIRE(engine.code == 0);
  REQUIRE(libtorch.code == 0);
  const Json got = Json::parse(engine.out), wanted = Json::parse(libtorch.out);
  for (const char* side : {"original", "converted"}) {
    CHECK(got[side]["ids"] == wanted[side]["ids"]);
    CHECK(got[side]["ids"].size() == 9);
    CHECK(got[side]["tokens_per_second"].get<double>() > 0);
    CHECK(got[side]["decode"]["way"] == "engine");
    CHECK(wanted[side]["decode"]["way"] == "libtorch");
  }
  CHECK_THAT(mlaforge(folder.path(), compare + Words{"--decode", "engine"}).out, Contains("tokens/s (engine)"));
}

TEST_CASE("a task's run says what generated its answers, and is the same run whether it did or not", "[cli][tasks][engine]") {
  const TemporaryFolder folder;
  write_drawn_checkpoint(folder.path());
  write_task(folder);
  const Words eval{"eval", "--model", "model", "--tasks", "letters.json", "--store", "runs.db", "--format", "json", "--threads", "1"};
  const Finished by_itself = mlaforge(folder.path(), eval), engine = mlaforge(folder.path(), eval + Words{"--decode", "engine"});
  INFO(by_itself.err << engine.err);
  REQUIRE(by_itself.code == 0);
  REQUIRE(engine.code == 0);
  CHECK(Json::parse(by_itself.out)[0]["decode"] == Json{{"original", {{"way", "libtorch"}}}});
  CHECK(Json::parse(engine.out)[0]["decode"] == Json{{"original", {{"way", "engine"}}}});
  CHECK(Json::parse(engine.out)[0]["metrics"] == Json::parse(by_itself.out)[0]["metrics"]);

  const Store store = Store::open_read_only(folder / "runs.db");
  CHECK(store.read_run(1).first.library_versions.at("decode") == Json{{"original", {{"way", "libtorch"}}}});
  CHECK(store.read_run(2).first.library_versions.at("decode") == Json{{"original", {{"way", "engine"}}}});
  CHECK_FALSE(store.read_run(1).first.config.at("task").contains("decode"));  // its identity is that of earlier versions' runs
  Statement answers(store.database(), "SELECT detail ->> '$.decode.way', count(*) FROM answer WHERE run_id = 2 GROUP BY 1");
  REQUIRE(answers.step());
  CHECK(answers.text(0) == "engine");
  CHECK(answers.integer(1) == 2);
  CHECK_THAT(mlaforge(folder.path(), {"runs", "diff", "1", "2", "--store", "runs.db"}).out, Contains("library.decode.original.way"));
}
