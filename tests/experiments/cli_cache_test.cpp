// Caches of other dtypes and of integers from the command line: what is written, what a row is called, what is refused.
#include <fstream>

#include "core/base/json.h"
#include "results/store.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

// SmolLM2: 30 layers, keys and values of 3 heads of 64 values.
constexpr double kStreams = 2 * 30, kWidth = 3 * 64, kGroups = 3;
constexpr double kEightBits = 0.02;  // of a perplexity over 46 tokens, every key and value of the past rounded to 1/255 of its group's range

bool no_model() {
  if (!smollm2().empty()) return false;
  skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  return true;
}

void write_task(const TemporaryFolder& folder, const std::string& kind) {
  std::ofstream(folder / "capitals.jsonl") << Json{{"country", "France"}, {"city", "Paris"}}.dump() << '\n' << Json{{"country", "Italy"}, {"city", "Rome"}}.dump() << '\n';
  Json task{{"name", "capitals"}, {"version", 1}, {"protocol", "own"}, {"kind", kind}, {"data", {{"file", (folder / "capitals.jsonl").string()}, {"how", "the test writes it"}}},
            {"prompt", "The capital of {country} is"}};
  if (kind == "generation") task.update({{"generation", {{"max_new_tokens", 3}, {"stop", {"\n"}}, {"answers", {"{city}"}}}}, {"scores", {{"exact", "quasi_exact_match@lighteval"}}}});
  else task.update({{"choices", {"{city}", "Berlin"}}, {"gold", {{"column", "city"}, {"labels", {"Paris", "Rome"}}}}, {"metrics", {"acc"}}});
  std::ofstream(folder / "capitals.json") << task.dump();
}

Finished run(const TemporaryFolder& folder, std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.begin() + 1, {"--model", smollm2().string(), "--threads", "1"});
  words.insert(words.end(), more.begin(), more.end());
  return mlaforge(folder.path(), words);
}

double metric(const Json& task, const std::string& name) {
  for (const Json& one : task.at("metrics"))
    if (one.at("metric") == name) return one.at("value");
  return -1;
}

}  // namespace

TEST_CASE("a task's row names its cache and carries the cache's true bytes", "[cli][kv_cache]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_task(folder, "generation");
  const std::vector<std::string> eval{"eval", "--tasks", "capitals.json", "--store", "runs.db", "--format", "json"};
  const Finished own = run(folder, eval, {}), same = run(folder, eval, {"--kv-cache", "fp32", "--restart"}), four = run(folder, eval, {"--kv-cache", "int4", "--kv-residual", "0"});
  REQUIRE(own.code == 0);
  REQUIRE(same.code == 0);
  REQUIRE(four.code == 0);
  const Json plain = Json::parse(own.out)[0], again = Json::parse(same.out)[0], rough = Json::parse(four.out)[0];
  CHECK(plain["protocol"] == "own/v1");
  CHECK(again["protocol"] == "own/v1");  // the model's own dtype, asked for
  CHECK(rough["protocol"] == "own/v1/kv-int4-g64-r0-token-quanto");
  CHECK(metric(plain, "cache_bytes_per_token") == kStreams * kWidth * 4);
  CHECK(metric(rough, "cache_bytes_per_token") == kStreams * (kWidth / 2 + kGroups * 4));
  const auto [record, metrics] = Store::open_read_only(folder / "runs.db").read_run(rough["run_id"]);
  CHECK(record.config.at("kv_cache").at("bits") == 4);
  CHECK(metrics.size() == rough["metrics"].size());
}

TEST_CASE("generate and perplexity take the cache's flags", "[cli][kv_cache]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 20; ++i) text += "The merchants of the coast built a harbour, and the harbour made the town. ";
  std::ofstream(folder / "text.txt") << text;
  const Finished generated = run(folder, {"generate", "--prompt", "The capital of France is", "-n", "3", "--format", "json"}, {"--kv-cache", "bf16"});
  REQUIRE(generated.code == 0);
  CHECK(Json::parse(generated.out)["kv_cache"] == "bf16");
  CHECK(Json::parse(generated.out)["cache_bytes_per_token"] == kStreams * kWidth * 2);

  const std::vector<std::string> eval{"eval", "--corpus", "text.txt", "--window", "24", "--max-windows", "2", "--store", "runs.db", "--format", "json"};
  const Finished own = run(folder, eval, {}), eight = run(folder, eval, {"--kv-cache", "int8", "--kv-residual", "0"}), two = run(folder, eval, {"--kv-cache", "int2", "--kv-residual", "0"});
  REQUIRE(eight.code == 0);
  REQUIRE(two.code == 0);
  const Json plain = Json::parse(own.out), fine = Json::parse(eight.out), rough = Json::parse(two.out);
  CHECK_THAT(fine["protocol"].get<std::string>(), Contains("/kv-int8-g64-r0-token-quanto"));
  CHECK(fine["original"]["cache_bytes_per_token"] == kStreams * (kWidth + kGroups * 4));
  const double reference = plain["original"]["perplexity"], close = fine["original"]["perplexity"], far = rough["original"]["perplexity"];
  CHECK(close == Approx(reference).epsilon(kEightBits));
  CHECK(far > (1 + 5 * kEightBits) * reference);
}

TEST_CASE("flags of the cache that cannot have an effect are refused before a model is read", "[cli][kv_cache][errors]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_task(folder, "multiple_choice");
  const Finished choices = run(folder, {"eval", "--tasks", "capitals.json", "--store", "runs.db"}, {"--kv-cache", "int4"});
  CHECK(choices.code == 2);
  CHECK_THAT(choices.err, Contains("capitals") && Contains("one forward"));
  const Finished group = run(folder, {"generate", "--prompt", "a"}, {"--kv-cache", "bf16", "--kv-group-size", "32"});
  CHECK(group.code == 2);
  CHECK_THAT(group.err, Contains("--kv-group-size"));
  const Finished unknown = run(folder, {"generate", "--prompt", "a"}, {"--kv-cache", "int5"});
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.err, Contains("int4"));
  CHECK_FALSE(fs::exists(folder / "runs.db"));
}
