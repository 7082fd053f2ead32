#include "results/published.h"

#include <map>
#include <set>

#include "core/base/error.h"
#include "results/published_zoo.h"
#include "results/schema.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

int64_t count_in(const Store& store, const std::string& sql) {
  Statement read(store.database(), sql);
  return read.step() ? read.integer(0) : -1;
}

std::size_t column_of(const Table& table, const std::string& name) {
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    if (table.columns[c].name == name) return c;
  FAIL("no column " + name);
  return 0;
}

// TransMLA's own conversion of Llama-2-7B at rank 512, which its README gives 41.6135, its partial RoPE 18.6373 and the original 5.4732.
int64_t add_transmla(Store& store, const std::string& corpus, const std::string& protocol, const std::string& model = "Llama-2-7b-hf", int64_t freqfold = 8) {
  const SampleRun run{.label = "transmla ff8 r512", .model = model, .corpus = corpus, .protocol = protocol, .kv_values = 576, .perplexity = 42.6135};
  RunRecord record = sample_record(run);
  record.config["options"] = {{"kv_lora_rank", 512}, {"qk_mqa_dim", 64}, {"freqfold", freqfold}, {"collapse", 1}};
  record.kv_values_original = 8192;
  const int64_t id = store.begin_run(record);
  store.finish_run(id, record, sample_metrics(run));
  return id;
}

// Rows of the published number `value`.
std::vector<std::vector<Cell>> rows_of(const Table& table, double value) {
  std::vector<std::vector<Cell>> rows;
  for (const auto& row : table.rows)
    if (row[column_of(table, "Published")] == Cell(value)) rows.push_back(row);
  return rows;
}

}  // namespace

TEST_CASE("published numbers say where they come from", "[published]") {
  std::map<std::string, int> papers;
  std::set<std::string> seen;
  for (const PublishedNumber& number : published_numbers()) {
    INFO(number.paper << ", " << number.place << ", " << number.model << ", " << number.method << ", " << number.dataset);
    ++papers[number.paper];
    CHECK_FALSE(number.place.empty());
    CHECK_FALSE(number.model.empty());
    if (number.url) CHECK_THAT(*number.url, Catch::StartsWith("https://arxiv.org/abs/"));
    CHECK((number.better == "lower" || number.better == "higher"));
    const std::string line = number.paper + number.place + number.model + number.method + number.stage + number.dataset + number.metric + number.settings.dump() + std::to_string(number.value);
    CHECK(seen.insert(line + number.trained.value_or("") + std::to_string(number.saved_percent.value_or(-1))).second);
  }
  CHECK(papers.at("CARE (arXiv 2603.17946)") > 900);
  CHECK(papers.at("TransMLA") == 49);
  CHECK(papers.size() > 10);
}

TEST_CASE("the store has published numbers in a table of their own, once", "[published][migration]") {
  const TemporaryFolder folder;
  const auto size = static_cast<int64_t>(published_numbers().size());
  { Store::open(folder / "runs.db"); }
  Store store = Store::open(folder / "runs.db");

  CHECK(count_in(store, "SELECT count(*) FROM published") == size);
  CHECK(count_in(store, "SELECT count(*) FROM metric") == 0);
  CHECK(count_in(store, "SELECT count(*) FROM published WHERE paper = 'TransMLA' AND model = 'Llama-2-7B' AND stage = 'original' AND value = 5.4732") == 1);
}

TEST_CASE("a store with another program's published numbers gets this one's", "[published][migration]") {
  const TemporaryFolder folder;
  {
    Store store = Store::open(folder / "runs.db");
    store.database().execute("DELETE FROM published WHERE id % 2 = 0");
    store.database().execute(("UPDATE program_data SET sha256 = '" + std::string(64, '0') + "'").c_str());
  }
  CHECK(count_in(Store::open(folder / "runs.db"), "SELECT count(*) FROM published") == static_cast<int64_t>(published_numbers().size()));
}

TEST_CASE("a run that repeats a published number stands beside it with the difference", "[published]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const int64_t id = add_transmla(store, "wikitext2", "hf-chunk/2048");

  const Table table = published_zoo(store);

  const auto rows = rows_of(table, 41.6135);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0][column_of(table, "Ours")] == Cell(42.6135));
  CHECK(std::get<double>(rows[0][column_of(table, "Difference")]) == Approx(1));
  CHECK(std::get<double>(rows[0][column_of(table, "Difference %")]) == Approx(100 / 41.6135));
  CHECK(rows[0][column_of(table, "Mismatch")] == Cell());
  CHECK(rows[0][column_of(table, "Run")] == Cell(id));
  const auto original = rows_of(table, 5.4732);
  REQUIRE(original.size() == 1);
  CHECK(original[0][column_of(table, "Ours")] == Cell(20.5));
}

TEST_CASE("what does not match a published number is marked", "[published]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_transmla(store, "wikitext2-tok", "hf-chunk/512/first16", "llama-2-7b.Q8_0");

  const Table table = published_zoo(store);

  const auto rows = rows_of(table, 41.6135);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0][column_of(table, "Mismatch")] == Cell(std::string("text wikitext2-tok; published protocol hf-chunk/2048; quantised weights")));
}

TEST_CASE("other options, another text or another model repeat nothing", "[published]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_transmla(store, "wikitext2", "hf-chunk/2048", "Llama-2-7b-hf", 4);
  add_transmla(store, "debian-policy", "hf-chunk/2048");
  add_transmla(store, "wikitext2", "hf-chunk/2048", "Llama-2-13b-hf");

  const Table table = published_zoo(store);

  const auto rows = rows_of(table, 41.6135);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0][column_of(table, "Ours")] == Cell());
  CHECK(rows[0][column_of(table, "Protocol")] == Cell(std::string("hf-chunk/2048")));
  std::size_t alone = 0;
  for (const auto& row : table.rows) alone += row[column_of(table, "Published")] == Cell() ? 1 : 0;
  CHECK(alone == 3);
}

TEST_CASE("an allocator that a run does not name is the uniform one, and another calibration is marked", "[published]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const SampleRun run{.method = "care", .label = "care r64", .model = "Llama-3.1-8B-Instruct", .corpus = "wikitext2", .protocol = "hf-chunk/2048", .kv_values = 128, .perplexity = 900};
  RunRecord record = sample_record(run);
  record.config["options"] = {{"metric", "sqrt"}, {"rank", 64}, {"form", "rebuilt"}};
  record.config["calibration"] = {{"dataset", "alpaca"}};
  store.finish_run(store.begin_run(record), record, {sample_metrics(run)[1]});  // scored without its original

  const Table table = published_zoo(store);

  const auto uniform = rows_of(table, 983.55);  // CARE-U, calibrated on Alpaca
  REQUIRE(uniform.size() == 1);
  CHECK(uniform[0][column_of(table, "Ours")] == Cell(900.0));
  CHECK(uniform[0][column_of(table, "Mismatch")] == Cell(std::string("published protocol not stated")));
  std::size_t ours = 0, other = 0;
  for (const auto& row : table.rows) {
    if (row[column_of(table, "Ours")] == Cell()) continue;
    ++ours;
    CHECK(row[column_of(table, "Method")] == Cell(std::string("CARE-U")));
    other += std::get<std::string>(row[column_of(table, "Mismatch")]).find("published calibration") != std::string::npos ? 1 : 0;
  }
  CHECK(ours == 4);  // the tables of four calibration texts
  CHECK(other == 3);
}

TEST_CASE("published numbers of models that the store does not know stay out", "[published]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_done(store);

  const Table table = published_zoo(store);

  REQUIRE(table.rows.size() == 1);
  CHECK(table.rows[0][column_of(table, "Published")] == Cell());
  CHECK(table.rows[0][column_of(table, "Method")] == Cell(std::string("transmla ff4 r64")));
}

TEST_CASE("the table of published numbers is narrowed by dataset, model and protocol", "[published]") {
  CHECK(published_table().rows.size() == published_numbers().size());
  CHECK(published_table({{"corpus", "wikitext2"}, {"model", "Llama-2-7B"}, {"protocol", "hf-chunk/2048"}}).rows.size() == 5);
  CHECK(published_table({{"corpus", "wikitext2"}, {"method", "CARE-U"}}).rows.size() == 50);
  CHECK(published_table({{"model", "x' OR 1=1 --"}}).rows.empty());
  CHECK_THROWS_AS(published_table({{"modle", "x"}}), ConfigError);
}

TEST_CASE("spellings of one model share a key", "[published]") {
  for (const char* name : {"Llama-3-8B", "Meta-Llama-3-8B", "llama-3-8b-hf", "Llama-3-8B.Q4_1", "Llama-3-8B-IQ3_XS"}) CHECK(model_key(name) == "llama38b");
  CHECK(model_key("Llama-3.1-8B") != model_key("Llama-3-8B"));
}
