// mlaforge bench, as a user walks it: shapes, files, formats, the protocol, the store.
#include <algorithm>
#include <sstream>

#include "core/base/json.h"
#include "results/query.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"

using namespace mla;
using namespace mla::test;
using Words = std::vector<std::string>;
using Catch::Matchers::Contains;

namespace {

Finished bench(const TemporaryFolder& folder, Words more) {
  Words words{"bench", "--threads", "1"};
  words.insert(words.end(), more.begin(), more.end());
  return mlaforge(folder.path(), words);
}

const Words kTiny{"--shape", "smollm-135m", "--layers", "1", "--mla", "96+32"};

Finished tiny(const TemporaryFolder& folder, const Words& more) {
  Words words = kTiny;
  words.insert(words.end(), more.begin(), more.end());
  return bench(folder, words);
}

}  // namespace

TEST_CASE("a shape and its latent counterpart are timed turn by turn and stored", "[cli][bench]") {
  const TemporaryFolder folder;
  const Finished finished = tiny(folder, {"-p", "8", "-n", "4", "-pg", "4,2", "-d", "0,6", "-r", "3", "-npl", "2", "--memory", "2", "-o", "json"});
  INFO(finished.err);
  REQUIRE(finished.code == 0);
  const Json rows = Json::parse(finished.out);
  REQUIRE(rows.size() == 2 * 3 * 2);
  std::vector<std::string> tests;
  for (std::size_t i = 0; i < rows.size(); i += 2) tests.push_back(rows[i]["test"]);
  CHECK(tests == std::vector<std::string>{"pp8", "tg4", "pp4+tg2", "pp8 @ d6", "tg4 @ d6", "pp4+tg2 @ d6"});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Json& row = rows[i];
    CHECK(row["model_filename"] == "smollm-135m, 1 layer");
    CHECK(row["form"] == (i % 2 == 0 ? "original" : "mla 96+32"));
    CHECK(row["samples_ts"].size() == 3);
    CHECK(row["avg_ts"].get<double>() > 0);
    CHECK(row["cache_bytes_per_token"] == (i % 2 == 0 ? 384 * 4.0 : 128 * 4.0));
    const int64_t tokens = 2 * (row["n_depth"].get<int64_t>() + row["n_prompt"].get<int64_t>() + row["n_gen"].get<int64_t>());
    CHECK(row["cache_bytes"].get<double>() == row["cache_bytes_per_token"].get<double>() * static_cast<double>(tokens));
    CHECK(row["ratio"].is_null() == (i % 2 == 0));
    if (i % 2 == 1) CHECK(row["ratio_low"].get<double>() <= row["ratio"].get<double>());
    CHECK(row["bandwidth_share"].is_null() == (row["n_prompt"] != 0));  // of what only generates
    CHECK(row["largest_batch"].get<int64_t>() > 100);
    CHECK(row["n_seqs"] == 2);
  }

  const Store store = Store::open_read_only(folder / "runs.db");
  REQUIRE(store.runs().size() == rows.size());
  const auto [record, metrics] = store.read_run(4);
  CHECK(record.model == "smollm-135m, 1 layer");
  CHECK(record.protocol == "llama-bench/tg4/b2048");
  CHECK(record.kv_values == 128);
  CHECK(std::any_of(metrics.begin(), metrics.end(), [&](const Metric& m) { return m.name == "tokens_per_second" && m.stage == "mla" && m.value == rows[3]["avg_ts"]; }));
  const Table table = run_query(store, "throughput", {{"protocol", "llama-bench/tg4/b2048"}});
  CHECK(table.rows.size() == 4);  // two models at two depths
}

TEST_CASE("the way to decode is chosen, shown in each row, and refused where it is not held", "[cli][bench][engine]") {
  const TemporaryFolder folder;
  const Finished finished = tiny(folder, {"-p", "4", "-n", "3", "-d", "2", "-r", "1", "-npl", "2", "--decode", "engine", "-o", "json"});
  INFO(finished.err);
  REQUIRE(finished.code == 0);
  const Json rows = Json::parse(finished.out);
  REQUIRE(rows.size() == 4);
  for (const Json& row : rows) {
    CHECK(row["decode"] == (row["n_gen"] > 0 ? "engine" : "libtorch"));
    CHECK(row["avg_ts"].get<double>() > 0);
    CHECK(row["cache_bytes"].get<double>() == row["kv_values"].get<double>() * 4 * 2 * (2 + row["n_prompt"].get<double>() + row["n_gen"].get<double>()));
  }
  const Store store = Store::open_read_only(folder / "runs.db");
  CHECK(store.read_run(3).first.config.at("decode") == "engine");
  CHECK_FALSE(store.read_run(1).first.config.contains("decode"));
  CHECK(store.read_run(3).first.library_versions.at("decode") == Json{{"original", {{"way", "engine"}}}});
  CHECK_FALSE(store.read_run(1).first.library_versions.contains("decode"));  // a prompt alone

  const Finished own = tiny(folder, {"-p", "0", "-n", "2", "-r", "1", "--no-store", "-o", "json"}), integers = tiny(folder, {"-n", "2", "--no-store", "--decode", "engine", "--kv-cache", "int2"});
  CHECK(Json::parse(own.out)[0]["decode"] == "libtorch");  // on the CPU
  CHECK(integers.code != 0);
  CHECK_THAT(integers.err, Contains("8 or 4 bits"));
}

TEST_CASE("every format prints the same tests, on stderr too where it is asked for", "[cli][bench]") {
  const TemporaryFolder folder;
  const Words quick{"-p", "2", "-n", "0", "-r", "1", "--no-warmup", "--no-store"};
  const auto printed = [&](const char* format, const char* error_format) {
    Words words = quick;
    words.insert(words.end(), {"-o", format, "-oe", error_format});
    return tiny(folder, words);
  };
  const Finished md = printed("md", "csv"), sql = printed("sql", "jsonl");
  REQUIRE(md.code == 0);
  REQUIRE(sql.code == 0);
  CHECK_THAT(md.out, Contains("| pp2 ") || Contains(" pp2 |"));
  CHECK_THAT(md.out, Contains("copy: ") && Contains("build: "));
  CHECK_THAT(md.err, Contains("build_commit,build_number") && Contains("\"pp2\""));
  CHECK_THAT(sql.out, Contains("INSERT INTO mlaforge_bench"));
  CHECK_THAT(sql.err, Contains("{\"build_commit\": "));
  CHECK_FALSE(fs::exists(folder / "runs.db"));
}

TEST_CASE("TransMLA's protocol serves all requests in batches that the memory decides", "[cli][bench]") {
  const TemporaryFolder folder;
  const Words protocol{"--protocol", "transmla", "--requests", "5", "--contexts", "8,16", "--budgets", "0.1203,1", "-b", "16", "-o", "json"};
  Words dry = protocol;
  dry.push_back("--dry-run");
  const Finished plan = tiny(folder, dry);
  INFO(plan.err);
  REQUIRE(plan.code == 0);
  CHECK_FALSE(fs::exists(folder / "runs.db"));
  const Finished finished = tiny(folder, protocol);
  INFO(finished.err);
  REQUIRE(finished.code == 0);
  const Json planned = Json::parse(plan.out), rows = Json::parse(finished.out);
  REQUIRE(rows.size() == 2 * 2 * 2);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (const char* same : {"context", "largest_batch", "batch", "n_batches", "memory_bytes"}) CHECK(rows[i][same] == planned[i][same]);
    CHECK(planned[i]["avg_ts"].is_null());
    if (rows[i]["batch"] == 0) continue;
    CHECK(rows[i]["avg_ts"].get<double>() == Approx(5 * rows[i]["n_gen"].get<double>() / (rows[i]["avg_ns"].get<double>() / 1e9)).epsilon(1e-6));
    CHECK(rows[i]["cache_bytes"] == planned[i]["cache_bytes"]);  // what was planned is what the caches held
  }
  const bool tight = std::any_of(rows.begin(), rows.end(), [](const Json& row) { return row["batch"].get<int64_t>() < 5; });
  CHECK(tight);

  const Finished table = mlaforge(folder.path(), {"table", "throughput", "--store", "runs.db", "--format", "csv"});
  CHECK(table.code == 0);
  CHECK_THAT(table.out, Contains("transmla/5 requests/b16"));
}

TEST_CASE("what is wrong with a benchmark is said before anything is loaded", "[cli][bench][errors]") {
  const TemporaryFolder folder;
  const auto says = [&](const Words& words, int code, const std::string& text) {
    const Finished finished = bench(folder, words);
    INFO(finished.err);
    CHECK(finished.code == code);
    CHECK(finished.out.empty());
    CHECK_THAT(finished.err, Contains(text));
  };
  says({"--shape", "smollm-135m", "-p", "512,x"}, 2, "position 5 of --n-prompt 512,x");
  says({"--shape", "smollm-135m", "-pg", "512"}, 2, "position 4 of -pg 512");
  says({"--shape", "smollm-135", "-p", "1"}, 2, "did you mean 'smollm-135m'?");
  says({"-p", "1"}, 2, "--model or --shape");
  says({"--model", "none.gguf"}, 3, "none.gguf");
  says({"--model", "a", "--shape", "smollm-135m"}, 2, "got both");
  says({"--model", "a", "--mla", "512+64"}, 2, "--mla");
  says({"--shape", "smollm-135m", "-p", "0", "-n", "0"}, 2, "something to measure");
  says({"--shape", "smollm-135m", "-o", "xml"}, 2, "md, csv, json, jsonl, sql");
  says({"--shape", "smollm-135m", "--protocol", "transmla", "-p", "8"}, 2, "--contexts");
  says({"--shape", "llama-2-7b", "--protocol", "transmla", "--budgets", "0", "--dry-run"}, 2, "--budgets");
  CHECK_FALSE(fs::exists(folder / "runs.db"));
}

TEST_CASE("a file and its conversion made on the fly stand side by side", "[cli][bench]") {
  if (smollm2().empty()) return mla::skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  const TemporaryFolder folder;
  const Finished finished = bench(folder, {"--model", smollm2().string(), "--method", "svd", "--form", "latent", "--split", "high", "--rope-dim", "32", "--kv-lora-rank", "96",
                                           "-p", "4", "-n", "2", "-r", "2", "-o", "json"});
  INFO(finished.err);
  REQUIRE(finished.code == 0);
  const Json rows = Json::parse(finished.out);
  REQUIRE(rows.size() == 4);
  CHECK(rows[0]["form"] == "original");
  CHECK(rows[0]["cache_bytes_per_token"] == 30 * 384 * 4.0);
  CHECK(rows[1]["cache_bytes_per_token"] == 30 * 192 * 4.0);
  CHECK_THAT(rows[1]["form"].get<std::string>(), Contains("svd"));
  const auto [record, metrics] = Store::open_read_only(folder / "runs.db").read_run(2);
  CHECK(record.method == "svd");
  CHECK(record.inputs.size() >= 2);
  CHECK(record.kv_values_original == 384);
}
