#include <fstream>

#include "core/base/json.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

Json checks_of(const Finished& finished, const std::string& section) {
  Json chosen = Json::array();
  for (const Json& row : Json::parse(finished.out))
    if (row.at("section") == section) chosen.push_back(row);
  return chosen;
}

}  // namespace

TEST_CASE("doctor tells what is here, and a store that is not there yet is no fault", "[cli][doctor]") {
  const TemporaryFolder folder;
  const Finished finished = mlaforge(folder.path(), {"doctor", "--format", "json"});
  REQUIRE(finished.code == 0);
  CHECK(checks_of(finished, "program").size() >= 5);
  CHECK(checks_of(finished, "texts").size() >= 5);
  CHECK(checks_of(finished, "store").back().at("finding") == "missing");
  CHECK_FALSE(fs::exists(folder / "runs.db"));
  CHECK_THAT(mlaforge(folder.path(), {"doctor"}).out, Contains("gnuplot") && Contains("sbatch"));
}

TEST_CASE("doctor finds a whole store whole and a damaged one damaged", "[cli][doctor][errors]") {
  const TemporaryFolder folder;
  {
    Store store = Store::open(folder / "runs.db");
    for (int i = 0; i < 100; ++i) add_done(store, {.kv_values = i + 1});
    store.begin_run(sample_record({.kv_values = 500}));
  }
  const Finished whole = mlaforge(folder.path(), {"doctor"});
  CHECK(whole.code == 0);
  CHECK_THAT(whole.out, Contains("101 runs") && Contains("1 runs are marked running"));

  const uintmax_t half = fs::file_size(folder / "runs.db") / 2;
  std::fstream file(folder / "runs.db", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(half));
  file << std::string(static_cast<std::size_t>(half), 'Z') << std::flush;
  const Finished damaged = mlaforge(folder.path(), {"doctor"});
  CHECK(damaged.code == 4);
  CHECK_THAT(damaged.out, Contains("broken") && Contains(".recover"));
  CHECK_THAT(mlaforge(folder.path(), {"table", "zoo"}).err, Contains("malformed"));
}
