// The road from a real model to a stored, tabulated and drawn number, as a user walks it.
#include <chrono>
#include <fstream>
#include <thread>

#include "core/base/files.h"
#include "core/base/json.h"
#include "results/store.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"

using namespace mla;
using namespace mla::test;
using Words = std::vector<std::string>;
using Catch::Matchers::Contains;

namespace {

void write_corpus(const fs::path& path, int sentences) {
  std::ofstream out(path);
  for (int i = 0; i < sentences; ++i) out << "On day " << i << " the ship sailed on, and the crew counted " << 3 * i << " birds above the water.\n";
}

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

const Words kHigh{"--method", "mha2mla", "--rope-selection", "high", "--rope-dim", "32", "--svd", "none"};

Words run_words(const Words& more) {
  return with(with({"run", "--model", smollm2().string(), "--corpus", "text.txt", "--window", "64", "--max-windows", "3", "--store", "runs.db"}, kHigh), more);
}

bool no_model() {
  if (!smollm2().empty()) return false;
  skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  return true;
}

}  // namespace

TEST_CASE("run prints one JSON object with every promised field, and stores it", "[cli][run]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_corpus(folder / "text.txt", 40);

  const Finished finished = mlaforge(folder.path(), run_words({"--format", "json"}));

  REQUIRE(finished.code == 0);
  const Json result = Json::parse(finished.out);
  for (const char* stage : {"original", "partial_rope", "mla"}) {
    CHECK(result[stage]["perplexity"].get<double>() > 1);
    CHECK(result[stage]["std_error"].get<double>() > 0);
    CHECK(result[stage]["windows"] == 3);
  }
  CHECK(result["kld"]["mean"].get<double>() > 0);
  CHECK(result["kv_values_per_token_per_layer"] == 384);
  CHECK(result["seconds"].contains("convert"));
  CHECK(result["peak_rss_mb"].get<double>() > 100);
  const Store store = Store::open_read_only(folder / "runs.db");
  const auto [record, metrics] = store.read_run(result["run_id"]);
  CHECK(record.status == RunStatus::done);
  CHECK(record.inputs.size() == 3);  // checkpoint, tokenizer, corpus; this method calibrates on nothing
  CHECK(metrics.size() > 10);
}

TEST_CASE("a run that is in the store is not measured again when asked to skip it", "[cli][run]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_corpus(folder / "text.txt", 40);
  REQUIRE(mlaforge(folder.path(), run_words({})).code == 0);

  const Finished again = mlaforge(folder.path(), run_words({"--skip-done"}));

  CHECK(again.code == 0);
  CHECK_THAT(again.out, Contains("is in the store already"));
  CHECK(Store::open_read_only(folder / "runs.db").runs().size() == 1);
}

TEST_CASE("table and plot regenerate from the store, byte for byte", "[cli][table]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_corpus(folder / "text.txt", 40);
  REQUIRE(mlaforge(folder.path(), run_words({})).code == 0);

  const Finished markdown = mlaforge(folder.path(), {"table", "--store", "runs.db", "--format", "markdown"});
  const Finished plot = mlaforge(folder.path(), {"plot", "--store", "runs.db", "--out", "figures"});

  CHECK_THAT(markdown.out, Contains("mha2mla high d32 svd none") && Contains("hf-chunk/64/first3"));
  CHECK(mlaforge(folder.path(), {"table", "--store", "runs.db", "--format", "markdown"}).out == markdown.out);
  INFO(plot.err);
  CHECK(plot.code == 0);
  for (const char* name : {"ppl_vs_cache.png", "ppl_vs_cache.svg", "ppl_vs_cache.pdf", "ppl_vs_cache.dat", "ppl_vs_cache.gp"}) CHECK(fs::file_size(folder / "figures" / name) > 0);
}

TEST_CASE("a converted folder reads back with the numbers that run gave", "[cli][convert]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_corpus(folder / "text.txt", 40);
  const Json run = Json::parse(mlaforge(folder.path(), run_words({"--format", "json", "--out", "kept"})).out);
  REQUIRE(mlaforge(folder.path(), with({"convert", "--model", smollm2().string(), "--out", "converted"}, kHigh)).code == 0);
  CHECK(read_text_file(folder / "kept/model.safetensors") == read_text_file(folder / "converted/model.safetensors"));

  const Words eval{"eval", "--model", "converted", "--corpus", "text.txt", "--window", "64", "--max-windows", "3", "--format", "json"};
  const Json judged = Json::parse(mlaforge(folder.path(), with(eval, {"--reference", smollm2().string()})).out);
  const Finished generated = mlaforge(folder.path(), {"generate", "--model", "converted", "--prompt", "The capital of France is", "--max-new-tokens", "4"});

  CHECK(judged["mla"]["perplexity"].get<double>() == Approx(run["mla"]["perplexity"].get<double>()).epsilon(1e-12));
  CHECK(judged["kld"]["mean"].get<double>() == Approx(run["kld"]["mean"].get<double>()).epsilon(1e-9));
  CHECK(judged["label"] == run["label"]);
  CHECK_THAT(generated.out, Contains("Paris"));
}

TEST_CASE("the original's hidden states are found again, give equal bits, and the whole block of divergences is printed", "[cli][eval]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_corpus(folder / "text.txt", 40);
  REQUIRE(mlaforge(folder.path(), with({"convert", "--model", smollm2().string(), "--out", "converted"}, kHigh)).code == 0);
  const Words eval{"eval", "--model", "converted", "--reference", smollm2().string(), "--corpus", "text.txt", "--window", "64", "--max-windows", "5"};

  const Finished off = mlaforge(folder.path(), with(eval, {"--format", "json", "--no-hidden-cache"}));
  CHECK_FALSE(fs::exists(folder / ".cache/hidden"));
  const Finished filling = mlaforge(folder.path(), with(eval, {"--format", "json"})), found = mlaforge(folder.path(), with(eval, {"--format", "json"}));
  const Finished block = mlaforge(folder.path(), with(eval, {"--kld"}));

  REQUIRE(off.code == 0);
  CHECK_THAT(filling.err, !Contains("in the cache"));
  CHECK_THAT(found.err, Contains("for 320 of 320 tokens in the cache"));
  for (const char* part : {"original", "mla", "kld"}) {
    CHECK(Json::parse(filling.out)[part] == Json::parse(off.out)[part]);
    CHECK(Json::parse(found.out)[part] == Json::parse(off.out)[part]);
  }
  CHECK(Json::parse(off.out)["kld"]["statistics"]["dp_rms"]["value"].get<double>() > 0);
  CHECK_THAT(block.out, Contains("====== Token probability statistics ======") && Contains("Same top p:") && Contains("Final estimate: PPL"));
  CHECK(mlaforge(folder.path(), {"eval", "--model", "converted", "--corpus", "text.txt", "--kld"}).code == 2);
}

TEST_CASE("an interrupted run ends with code 130 and is marked so in a store that opens", "[cli][interrupt]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_corpus(folder / "text.txt", 4000);
  Words words = run_words({});
  for (std::string& word : words)
    if (word == "3") word = "1000";
  Command running(folder.path(), words);
  const auto begun = [&] {
    try {
      return fs::exists(folder / "runs.db") && !Store::open_read_only(folder / "runs.db").runs().empty();
    } catch (const std::exception&) {
      return false;  // between creation and the first transaction
    }
  };
  for (int i = 0; i < 600 && !begun(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));

  running.interrupt();
  const Finished finished = running.wait();

  INFO(finished.err);
  CHECK(finished.code == 130);
  CHECK(Store::open_read_only(folder / "runs.db").runs().at(0).status == "interrupted");
  CHECK(mlaforge(folder.path(), run_words({})).code == 0);  // and the store goes on
}

TEST_CASE("inspect plans a conversion without calibrating, and counts its cache", "[cli][inspect]") {
  if (no_model()) return;
  const TemporaryFolder folder;

  const Finished finished = mlaforge(folder.path(), {"inspect", "--model", smollm2().string(), "--method", "transmla", "--freqfold", "4",
                                                     "--kv-lora-rank", "128", "--context", "1000", "--format", "json"});

  REQUIRE(finished.code == 0);
  const Json result = Json::parse(finished.out);
  CHECK(result["original"]["cache"][0]["cache_bytes"] == 384LL * 30 * 4 * 1000);
  CHECK(result["planned"]["cache"][0]["cache_bytes"] == 192LL * 30 * 4 * 1000);
  CHECK(result["planned"]["attention"]["kv_a_proj.weight"] == Json({128, 576}));
  CHECK(result["family"] == "llama");
  CHECK(result["original"]["parameters"] == 134515008);  // SmolLM2-135M's published count
  CHECK(result["original"]["kv_bytes_per_token"] == 384 * 30 * 2);
  CHECK(result["planned"]["cache"][0]["bf16"] == 192LL * 30 * 2 * 1000);
}

TEST_CASE("inspect plans from a number of cached values alone, and prints the cache at four lengths", "[cli][inspect]") {
  if (no_model()) return;
  const TemporaryFolder folder;

  const Finished finished = mlaforge(folder.path(), {"inspect", "--model", smollm2().string(), "--cache-values", "96"});

  REQUIRE(finished.code == 0);
  CHECK_THAT(finished.out, Contains("96 values per token and layer, 5760 bytes per token in bf16") && Contains("stream_match"));
  for (const char* length : {"4096 tokens", "32768 tokens", "131072 tokens", "524288 tokens"}) CHECK_THAT(finished.out, Contains(length));
}

TEST_CASE("every command's help ends in examples", "[cli][help]") {
  const TemporaryFolder folder;
  for (const char* command : {"run", "convert", "eval", "export", "generate", "inspect", "table", "plot", "report", "runs", "methods", "samples", "sweep", "tasks"}) {
    const Finished help = mlaforge(folder.path(), {command, "--help"});
    CHECK(help.code == 0);
    CHECK_THAT(help.out, Contains("Examples:"));
  }
}
