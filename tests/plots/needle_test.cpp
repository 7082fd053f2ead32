// The needle's heat map from the answers of made-up runs.
#include "core/base/error.h"
#include "core/base/files.h"
#include "plots/figure.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

struct Found {
  std::string item;
  double score;
  std::string stage = "mla";
};

void add_run(Store& store, SampleRun run, const std::vector<Found>& found) {
  run.protocol = "mlaforge/v1";
  const RunRecord record = sample_record(run);
  const int64_t id = store.begin_run(record);
  std::vector<AnswerRow> rows;
  for (const Found& one : found) rows.push_back({run.corpus, one.stage, static_cast<int64_t>(rows.size()), one.item, sha256_hex("p"), "", "", one.score, 3, "{}"});
  store.answer_sink(id)->add(rows);
  store.finish_run(id, record, {});
}

// Draws where gnuplot is; data and script are there in any case.
bool draw(const Store& store, const TemporaryFolder& folder, const QueryParams& params = {}) {
  try {
    write_figure(store, "needle", folder / "out", params);
    return true;
  } catch (const ResourceError& error) {
    REQUIRE_THAT(error.what(), Contains("not installed"));
    mla::skip("gnuplot is not installed");
    return false;
  }
}

}  // namespace

TEST_CASE("every length and depth is a cell with its number, a panel per model", "[plots][needle]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_run(store, {.corpus = "niah"}, {{"512@0", 1}, {"512@0.25", 0.5}, {"2048@0", 0}, {"2048@0.25", 1}, {"512@0", 1, "original"}, {"2048@0.25", 1, "original"}});

  const bool drawn = draw(store, folder);

  const std::string data = read_text_file(folder / "out" / "needle.dat"), script = read_text_file(folder / "out" / "needle.gp");
  CHECK(data ==
        "# panel 1: x y value number colour\n0 0 1 \"1.00\" 0\n1 1 1 \"1.00\" 0\n\n\n"
        "# panel 2: x y value number colour\n0 0 1 \"1.00\" 0\n0 1 0.5 \"0.50\" 16777215\n1 0 0 \"0.00\" 16777215\n1 1 1 \"1.00\" 0\n\n\n");
  CHECK_THAT(script, Contains("('512' 0, '2048' 1)") && Contains("('0 %%' 0, '25 %%' 1)") && Contains("layout 1,2"));
  CHECK_THAT(script, Contains("'original, fp32, 384 values per token and layer'") && Contains("'transmla ff4 r64, fp32, 96 values per token and layer'"));
  if (!drawn) return;
  const std::string svg = read_text_file(folder / "out" / "needle.svg");
  CHECK_THAT(svg, Contains("0.50") && Contains("Depth of the needle") && Contains("2048"));
  CHECK(fs::file_size(folder / "out" / "needle.png") > 5000);
}

TEST_CASE("a conversion with the original's cache and the original keep panels of their own", "[plots][needle]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_run(store, {.corpus = "niah", .kv_values = 384}, {{"512@0", 0}, {"512@0", 1, "original"}});
  draw(store, folder);
  const std::string data = read_text_file(folder / "out" / "needle.dat");
  CHECK_THAT(data, Contains("0 0 1 \"1.00\" 0") && Contains("0 0 0 \"0.00\" 16777215"));
}

TEST_CASE("a task that is no needle draws nothing, two tasks are not mixed, and texts stay texts", "[plots][needle][errors]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  add_run(store, {.corpus = "arc_easy"}, {{"Mercury_7@x", 1}, {"12", 1}});
  CHECK_THROWS_WITH(draw(store, folder), Contains("eval --tasks niah"));
  add_run(store, {.label = "it's `touch x` \"$(y)\"", .corpus = "niah"}, {{"512@0", 1}});
  add_run(store, {.corpus = "my_needle"}, {{"512@0", 1}});
  CHECK_THROWS_WITH(draw(store, folder), Contains("--corpus"));
  draw(store, folder, {{"corpus", "niah"}});
  CHECK_THAT(read_text_file(folder / "out" / "needle.gp"), Contains("'it''s `touch x` \"$(y)\", fp32, 96 values per token and layer'"));
  CHECK_FALSE(fs::exists(folder / "out" / "x"));
}
