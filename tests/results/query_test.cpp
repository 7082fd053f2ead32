#include "results/query.h"

#include <algorithm>

#include "core/base/error.h"
#include "results/table_writer.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

std::size_t column_of(const Table& table, const std::string& name) {
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    if (table.columns[c].name == name) return c;
  FAIL("no column " + name);
  return 0;
}

std::string text_at(const Table& table, std::size_t row, const std::string& column) {
  return std::get<std::string>(table.rows.at(row).at(column_of(table, column)));
}

double number_at(const Table& table, std::size_t row, const std::string& column) {
  return std::get<double>(table.rows.at(row).at(column_of(table, column)));
}

std::vector<std::string> texts_of(const Table& table, const std::string& column) {
  std::vector<std::string> texts;
  for (std::size_t r = 0; r < table.rows.size(); ++r) texts.push_back(text_at(table, r, column));
  return texts;
}

}  // namespace

TEST_CASE("the zoo shows what a run saved and what it cost", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store, {.warnings = {"corpus hash differs", "second"}});

  const Table zoo = run_query(store, "zoo");

  REQUIRE(zoo.rows.size() == 1);
  CHECK(text_at(zoo, 0, "Method") == "transmla ff4 r64");
  CHECK(std::get<int64_t>(zoo.rows[0][column_of(zoo, "KV values")]) == 96);
  CHECK(number_at(zoo, 0, "Saved %") == 75.0);
  CHECK(number_at(zoo, 0, "Original ppl") == 20.5);
  CHECK(number_at(zoo, 0, "MLA ppl") == 30.125);
  CHECK(number_at(zoo, 0, "KL nats") == 0.375);
  CHECK(number_at(zoo, 0, "Same top %") == 75.0);
  CHECK(number_at(zoo, 0, "Seconds") == 3.75);
  CHECK(std::holds_alternative<std::monostate>(zoo.rows[0][column_of(zoo, "Partial-RoPE ppl")]));
  CHECK(text_at(zoo, 0, "Note") == "corpus hash differs; second");
}

TEST_CASE("the zoo prints a value with the standard error that belongs to it", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store);

  const std::string markdown = write_table(run_query(store, "zoo"), TableFormat::markdown);

  CHECK_THAT(markdown, Catch::Contains("20.500 ± 1.250") && Catch::Contains("30.125 ± 1.750") && Catch::Contains("0.3750 ± 0.0625"));
}

TEST_CASE("the zoo leaves out ad hoc cuts and runs that did not finish", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store, {.label = "cut", .ad_hoc_limit = true});
  store.fail_run(store.begin_run(sample_record({.label = "failed"})), "reason");
  store.begin_run(sample_record({.label = "running"}));
  add_done(store, {.label = "kept"});

  CHECK(texts_of(run_query(store, "zoo"), "Method") == std::vector<std::string>{"kept"});
  CHECK(run_query(store, "runs").rows.size() == 4);
}

TEST_CASE("of several attempts the zoo shows the latest that finished", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store, {.perplexity = 31});
  add_done(store, {.perplexity = 32});
  store.begin_run(sample_record());

  const Table zoo = run_query(store, "zoo");

  REQUIRE(zoo.rows.size() == 1);
  CHECK(number_at(zoo, 0, "MLA ppl") == 32);
}

TEST_CASE("the zoo is ordered by corpus, protocol, model, cache and label, whatever was run first", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store, {.label = "6", .corpus = "b"});
  add_done(store, {.label = "5", .corpus = "a", .protocol = "p2"});
  add_done(store, {.label = "3", .model = "m1", .corpus = "a", .protocol = "p1", .kv_values = 48});
  add_done(store, {.label = "4", .model = "m2", .corpus = "a", .protocol = "p1", .kv_values = 64});
  add_done(store, {.label = "2", .model = "m1", .corpus = "a", .protocol = "p1", .kv_values = 64});
  add_done(store, {.label = "1", .model = "m1", .corpus = "a", .protocol = "p1", .kv_values = 64});

  CHECK(texts_of(run_query(store, "zoo"), "Method") == std::vector<std::string>{"1", "2", "3", "4", "5", "6"});
}

TEST_CASE("a run scored under two protocols has a row for each", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  std::vector<Metric> metrics = sample_metrics({.protocol = "p1"});
  for (const Metric& metric : sample_metrics({.protocol = "p2", .perplexity = 99})) metrics.push_back(metric);

  store.finish_run(store.begin_run(sample_record()), sample_record(), metrics);

  const Table zoo = run_query(store, "zoo");
  CHECK(texts_of(zoo, "Protocol") == std::vector<std::string>{"p1", "p2"});
  CHECK(number_at(zoo, 0, "MLA ppl") == 30.125);
  CHECK(number_at(zoo, 1, "MLA ppl") == 99);
}

TEST_CASE("a score of the original alone saves nothing and has no converted perplexity", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const RunRecord record = sample_record({.method = "original", .label = "original", .kv_values = 384});

  store.finish_run(store.begin_run(record), record, {sample_metrics()[0]});

  const Table zoo = run_query(store, "zoo");
  REQUIRE(zoo.rows.size() == 1);
  CHECK(number_at(zoo, 0, "Saved %") == 0);
  CHECK(number_at(zoo, 0, "Original ppl") == 20.5);
  CHECK(std::holds_alternative<std::monostate>(zoo.rows[0][column_of(zoo, "MLA ppl")]));
}

TEST_CASE("corpus, model and protocol narrow every query", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store, {.model = "m1", .corpus = "c1", .protocol = "p1"});
  add_done(store, {.model = "m2", .corpus = "c2", .protocol = "p2"});

  for (const std::string& query : query_names()) {
    INFO(query);
    if (query.rfind("longbench", 0) == 0 || query == "needle" || query == "choices" || query == "layers" || query == "spectrum" || query == "search" || query == "throughput") {  // of runs over tasks, with layers or with a search, which these are not; narrowed in tests of their own
      CHECK(run_query(store, query).rows.empty());
      continue;
    }
    const std::size_t each = query == "memory" || query == "methods" ? 2 : 1;  // the original has a row of its own
    CHECK(run_query(store, query).rows.size() == 2 * each);
    CHECK(run_query(store, query, {{"model", "m1"}}).rows.size() == each);
    CHECK(run_query(store, query, {{"corpus", "c1"}}).rows.size() == each);
    CHECK(run_query(store, query, {{"protocol", "p1"}}).rows.size() == each);
    CHECK(run_query(store, query, {{"corpus", "c1"}, {"protocol", "p2"}}).rows.empty());
  }
}

TEST_CASE("a method narrows by label or its first words, never by a part of a word", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  for (const char* label : {"transmla ff4 r64", "transmla ff8 r64", "transmla_converter r64"}) add_done(store, {.label = label});

  CHECK(texts_of(run_query(store, "zoo", {{"method", "transmla"}}), "Method") == std::vector<std::string>{"transmla ff4 r64", "transmla ff8 r64"});
  CHECK(texts_of(run_query(store, "zoo", {{"method", "transmla ff8 r64"}}), "Method") == std::vector<std::string>{"transmla ff8 r64"});
  CHECK(run_query(store, "ppl_vs_cache", {{"method", "transmla ff4"}}).rows.size() == 1);
  CHECK(run_query(store, "zoo", {{"method", "transm"}}).rows.empty());
}

TEST_CASE("a parameter is a value, never a part of the query", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store);

  CHECK(run_query(store, "zoo", {{"corpus", "x' OR 1=1 --"}}).rows.empty());
}

TEST_CASE("an unknown query or parameter names the known ones", "[results][errors]") {
  const TemporaryFolder folder;
  const Store store = Store::open(folder / "runs.db");

  CHECK_THROWS_AS(run_query(store, "zooo"), ConfigError);
  CHECK_THROWS_WITH(run_query(store, "zooo"), Catch::Contains("did you mean 'zoo'") && Catch::Contains("runs"));
  CHECK_THROWS_AS(run_query(store, "zoo", {{"corpsu", "x"}}), ConfigError);
  CHECK_THROWS_WITH(run_query(store, "zoo", {{"corpsu", "x"}}), Catch::Contains("corpus, method, model, protocol"));
}

TEST_CASE("an empty table still has its header", "[results]") {
  const TemporaryFolder folder;
  const Store store = Store::open(folder / "runs.db");
  const Table zoo = run_query(store, "zoo");

  CHECK_THAT(write_table(zoo, TableFormat::markdown), Catch::Contains("| Model |"));
  CHECK_THAT(write_table(zoo, TableFormat::csv), Catch::StartsWith("Model,Method,"));
  CHECK(write_table(zoo, TableFormat::json) == "[]\n");
}
