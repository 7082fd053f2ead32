// Tables that lay rows of the store out as columns: methods by cache, tasks, layers, and the memory that layers sum up to.
#include "results/query.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const Column& column : table.columns) names.push_back(column.name);
  return names;
}

Cell text(const char* value) { return std::string(value); }

int64_t add_choice(Store& store, const char* task, const char* metric, double value, const char* protocol = "lm-eval/v1", const char* label = "transmla ff4 r64") {
  const RunRecord record = sample_record({.label = label, .corpus = task, .protocol = protocol});
  const int64_t id = store.begin_run(record);
  store.finish_run(id, record, {{metric, "mla", protocol, value, 0.01, 100, "1", Better::higher}, {metric, "original", protocol, value + 0.25, 0.02, 100, "1", Better::higher}});
  return id;
}

}  // namespace

TEST_CASE("methods at equal cache: a column per cache size, the largest first, the best run of each method", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store, {.method = "svd", .label = "svd r48", .kv_values = 96, .perplexity = 40});
  add_done(store, {.label = "transmla worse", .kv_values = 96, .perplexity = 31});
  add_done(store, {.label = "transmla better", .kv_values = 96, .perplexity = 30});
  add_done(store, {.label = "transmla r96", .kv_values = 192, .perplexity = 25});

  const Table table = run_query(store, "methods");

  CHECK(names_of(table) == std::vector<std::string>{"Model", "dtype", "Method", "Corpus", "Protocol", "384 values", "192 values", "96 values"});
  REQUIRE(table.rows.size() == 3);
  CHECK(table.rows[0][2] == text("original"));
  CHECK(table.rows[0][5] == Cell(20.5));
  CHECK(table.rows[1][2] == text("svd"));
  CHECK(table.rows[1][6] == Cell());
  CHECK(table.rows[1][7] == Cell(40.0));
  CHECK(table.rows[2][6] == Cell(25.0));
  CHECK(table.rows[2][7] == Cell(30.0));
  CHECK(table.rows[2].at(static_cast<std::size_t>(table.columns[7].error_cell)) == Cell(1.75));
  CHECK(table.separate == std::vector<std::size_t>{3, 4});
}

TEST_CASE("methods: caches that miss a size by less than three per cent share its column, the best of a method stays", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store, {.method = "svd", .label = "svd r128", .kv_values = 256, .perplexity = 40});
  add_done(store, {.label = "transmla r193", .kv_values = 257, .perplexity = 31});
  add_done(store, {.label = "transmla r191", .kv_values = 255, .perplexity = 30});
  add_done(store, {.label = "transmla r180", .kv_values = 244, .perplexity = 33});

  const Table table = run_query(store, "methods");

  CHECK(names_of(table) == std::vector<std::string>{"Model", "dtype", "Method", "Corpus", "Protocol", "384 values", "257 values", "244 values"});
  CHECK(table.rows[1][6] == Cell(40.0));
  CHECK(table.rows[2][6] == Cell(30.0));
  CHECK(table.rows[2][7] == Cell(33.0));
}

TEST_CASE("choices: a row per model and protocol, a column per task and metric, the latest run of each", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_choice(store, "piqa", "acc", 0.5);
  add_choice(store, "arc_easy", "acc_norm", 0.25);
  add_choice(store, "piqa", "acc", 0.625);
  add_choice(store, "piqa", "acc", 0.375, "lighteval/v1");

  const Table table = run_query(store, "choices");

  CHECK(names_of(table) == std::vector<std::string>{"Model", "Method", "dtype", "KV values", "Protocol", "arc_easy acc_norm", "piqa acc"});
  REQUIRE(table.rows.size() == 4);  // original and converted, of two protocols
  CHECK(table.rows[0][4] == text("lighteval/v1"));
  CHECK(table.rows[0][5] == Cell());
  CHECK(table.rows[2][1] == text("original"));
  CHECK(table.rows[2][6] == Cell(0.875));
  CHECK(table.rows[3][5] == Cell(0.25));
  CHECK(table.rows[3][6] == Cell(0.625));
  CHECK(table.separate == std::vector<std::size_t>{4});
}

TEST_CASE("ranks: what each layer caches, models of different depth side by side", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  for (const auto& [label, values] : std::vector<std::pair<std::string, Json>>{{"a", {96, 32.5, 64}}, {"b", {48}}}) {
    RunRecord record = sample_record({.label = label});
    record.kv_values_by_layer = values;
    store.finish_run(store.begin_run(record), record, sample_metrics());
  }

  const Table table = run_query(store, "ranks");

  CHECK(names_of(table) == std::vector<std::string>{"Model", "Method", "dtype", "KV values", "L0", "L1", "L2"});
  REQUIRE(table.rows.size() == 2);
  CHECK(table.rows[0] == std::vector<Cell>{text("SmolLM2-135M"), text("a"), text("fp32"), Cell(int64_t{96}), Cell(int64_t{96}), Cell(32.5), Cell(int64_t{64})});
  CHECK(table.rows[1][5] == Cell());
}

TEST_CASE("memory: bytes of all layers, of whole numbers in the run's dtype and of quantised caches as they were measured", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store, {.dtype = "bf16"});
  RunRecord quantised = sample_record({.corpus = "gsm8k", .protocol = "lm-eval/v1/kv-int4", .dtype = "bf16"});
  store.finish_run(store.begin_run(quantised), quantised, {{"cache_bytes_per_token", "mla", "lm-eval/v1/kv-int4", 112.5, 0.5, 10, "B", Better::lower}});

  const Table table = run_query(store, "memory");

  REQUIRE(table.rows.size() == 3);
  CHECK(table.rows[0][1] == text("original"));
  CHECK(table.rows[0][5] == Cell(384.0 * 2 * 2));
  CHECK(table.rows[1][5] == Cell(96.0 * 2 * 2));
  CHECK(table.rows[1][4] == Cell(75.0));
  CHECK(std::get<double>(table.rows[1][8]) == Approx(96.0 * 2 * 2 * 131072 / (1 << 20)));
  CHECK(table.rows[2][1] == text("transmla ff4 r64, kv-int4"));
  CHECK(table.rows[2][5] == Cell(112.5));
}

TEST_CASE("kld gives every run its statistics with their errors, percentages as such", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store);

  const Table table = run_query(store, "kld");

  REQUIRE(table.rows.size() == 1);
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (table.columns[c].name == "Mean KLD") {
      CHECK(table.rows[0][c] == Cell(0.375));
      CHECK(table.rows[0].at(static_cast<std::size_t>(table.columns[c].error_cell)) == Cell(0.0625));
    }
    if (table.columns[c].name == "Same top %") CHECK(table.rows[0][c] == Cell(75.0));
    if (table.columns[c].name == "Max KLD") CHECK(table.rows[0][c] == Cell());
  }
  CHECK(table.columns.size() == 40);
}

TEST_CASE("throughput: a row per model and test, out of memory among them, each test a table of its own", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const auto add = [&](const std::string& protocol, double context, const char* stage, std::optional<double> rate, double fits) {
    RunRecord record = sample_record({.label = std::string(stage) == "original" ? "original" : "mla 96+32", .corpus = "synthetic", .protocol = protocol});
    record.config["test"] = {{"context", context}};
    std::vector<Metric> metrics{{"context", stage, protocol, context, std::nullopt, 1, "tokens", Better::neither}, {"largest_batch", stage, protocol, fits, std::nullopt, 1, "1", Better::higher},
                                {"memory_bytes", stage, protocol, 24.0 * (1 << 30), std::nullopt, 1, "B", Better::neither}, {"sequences", stage, protocol, 2, std::nullopt, 1, "1", Better::neither},
                                {"cache_bytes_per_token", stage, protocol, 1 << 20, std::nullopt, 1, "B", Better::lower},
                                {"generation_bytes_per_second", stage, protocol, 1e9, std::nullopt, 1, "B/s", Better::higher}, {"copy_bytes_per_second", stage, protocol, 4e9, std::nullopt, 1, "B/s", Better::neither}};
    if (rate) metrics.push_back({"tokens_per_second", stage, protocol, *rate, 0.5, 5, "tokens/s", Better::higher});
    if (rate && std::string(stage) == "mla") metrics.push_back({"rate_ratio", stage, protocol, 2, std::nullopt, 5, "1", Better::higher});
    store.finish_run(store.begin_run(record), record, metrics);
  };
  add("transmla/100 requests/b2048", 4096, "mla", 64, 10);
  add("transmla/100 requests/b2048", 4096, "original", std::nullopt, 0);
  add("llama-bench/tg128/b2048", 1152, "original", 8, 3);

  const Table table = run_query(store, "throughput");

  REQUIRE(table.rows.size() == 3);
  CHECK(names_of(table) == std::vector<std::string>{"Model", "Method", "dtype", "Device", "Threads", "KV values", "Context", "Memory GiB", "Sequences", "Tokens/s", "Ratio", "Ratio low", "Ratio high",
                                                    "Cache bytes per token", "Cache MiB per sequence", "Fits", "GB/s", "Of copy %", "Protocol"});
  CHECK(table.rows[0][18] == text("llama-bench/tg128/b2048"));
  CHECK(table.rows[0][7] == Cell());  // what was free is no setting of the test
  CHECK(table.rows[0][9] == Cell(8.0));
  CHECK(table.rows[0].at(static_cast<std::size_t>(table.columns[9].error_cell)) == Cell(0.5));
  CHECK(table.rows[0][14] == Cell(1152.0));
  CHECK(table.rows[0][17] == Cell(25.0));
  const auto row_with = [&](const char* label) { return table.rows[1][1] == text(label) ? table.rows[1] : table.rows[2]; };
  CHECK(row_with("original")[9] == Cell());
  CHECK(row_with("original")[15] == Cell(0.0));
  CHECK(row_with("mla 96+32")[7] == Cell(24.0));
  CHECK(row_with("mla 96+32")[10] == Cell(2.0));
  CHECK(table.separate == std::vector<std::size_t>{18});
  CHECK(run_query(store, "throughput", {{"protocol", "llama-bench/tg128/b2048"}}).rows.size() == 1);
  CHECK(run_query(store, "throughput", {{"method", "mla"}}).rows.size() == 1);
}
