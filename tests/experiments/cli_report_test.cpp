// What people make of a store of real runs: layers, published numbers, pages.
#include <algorithm>
#include <fstream>

#include "core/base/files.h"
#include "core/base/json.h"
#include "results/store.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

std::vector<double> samples_of(const Store& store, int64_t run, const std::string& metric) {
  Statement read(store.database(), "SELECT value FROM sample WHERE run_id = ?1 AND stage = 'mla' AND metric = ?2 ORDER BY position");
  read.bind(1, run).bind(2, metric);
  std::vector<double> values;
  while (read.step()) values.push_back(read.real(0));
  return values;
}

}  // namespace

TEST_CASE("a run stores what each layer kept, and figures, tables and the report show it", "[cli][report]") {
  if (smollm2().empty()) return skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  const TemporaryFolder folder;
  std::ofstream(folder / "text.txt") << [] {
    std::string text;
    for (int i = 0; i < 40; ++i) text += "On day " + std::to_string(i) + " the ship sailed on, and the crew counted birds above the water.\n";
    return text;
  }();
  for (const char* rank : {"96", "192"})
    REQUIRE(mlaforge(folder.path(), {"run", "--model", smollm2().string(), "--method", "svd", "--rank", rank, "--corpus", "text.txt", "--window", "64", "--max-windows", "2", "--store", "runs.db"}).code == 0);

  const Store store = Store::open_read_only(folder / "runs.db");
  CHECK(samples_of(store, 1, "layer_rank") == std::vector<double>(30, 192));  // 96 of keys and 96 of values
  const std::vector<double> half = samples_of(store, 1, "kept_energy"), whole = samples_of(store, 2, "kept_energy");
  REQUIRE(half.size() == 30);
  for (const double kept : half) CHECK((kept > 0.5 && kept < 1));
  CHECK(whole == std::vector<double>(30, 1));
  const std::vector<double> spectrum = samples_of(store, 1, "spectrum/0/0");
  CHECK(spectrum.size() <= 16);
  CHECK(std::is_sorted(spectrum.rbegin(), spectrum.rend()));
  CHECK_FALSE(samples_of(store, 1, "spectrum/29/1").empty());

  for (const char* figure : {"layer_ranks", "layer_energy", "memory"}) CHECK(mlaforge(folder.path(), {"plot", figure, "--store", "runs.db"}).code == 0);
  CHECK(mlaforge(folder.path(), {"plot", "spectrum", "--method", "svd r96", "--store", "runs.db"}).code == 0);
  CHECK(mlaforge(folder.path(), {"plot", "spectrum", "--store", "runs.db"}).code == 2);
  CHECK_THAT(mlaforge(folder.path(), {"table", "zoo", "--with-published", "--store", "runs.db", "--format", "csv"}).out, Contains("Published,Ours,Difference"));
  const Finished report = mlaforge(folder.path(), {"report", "--store", "runs.db", "--out", "pages"});
  INFO(report.err);
  CHECK(report.code == 0);
  CHECK_THAT(read_text_file(folder / "pages" / "runs" / "1.html"), Contains("Kept share of energy, by layer") && Contains("--max-windows 2"));
}

TEST_CASE("published numbers need no store; a report is not written over other files", "[cli][report][errors]") {
  const TemporaryFolder folder;

  const Finished published = mlaforge(folder.path(), {"table", "published", "--model", "Llama-2-7B", "--format", "csv"});
  CHECK(published.code == 0);
  CHECK_THAT(published.out, Contains("41.6135") && Contains("https://arxiv.org/abs/2502.07864"));
  CHECK(mlaforge(folder.path(), {"table", "kld", "--with-published", "--store", "runs.db"}).code == 2);

  { Store::open(folder / "runs.db"); }
  fs::create_directory(folder / "mine");
  write_file_atomically(folder / "mine" / "thesis.txt", "x");
  const Finished refused = mlaforge(folder.path(), {"report", "--store", "runs.db", "--out", "mine"});
  CHECK(refused.code == 2);
  CHECK_THAT(refused.err, Contains("is no report of mlaforge"));
  CHECK(mlaforge(folder.path(), {"report", "--store", "absent.db", "--out", "pages"}).code == 4);
  CHECK_FALSE(fs::exists(folder / "pages"));
}
