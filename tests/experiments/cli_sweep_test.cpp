// Sweeps and the care of runs, from the command line.
#include <chrono>
#include <thread>

#include "core/base/files.h"
#include "core/base/json.h"
#include "results/store.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

std::string long_text() {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "The river number " + std::to_string(i % 37) + " runs to the sea, and the sea is not full. ";
  return text;
}

// Two quick configurations, and one that no allocator can meet.
std::string sweep_text(const std::string& more = "") {
  return R"({
    // no calibration, so that each takes seconds
    "name": "quick", "base": {"model": ")" + smollm2().string() + R"(", "corpus": "text.txt", "window": 32, "max_windows": 1},
    "grids": [{"method": "mha2mla", "rope_selection": ["high", "low"], "rope_dim": 32, "svd": "none"})" + more + "]}";
}

void prepare(const TemporaryFolder& folder, const std::string& more = "") {
  write_file_atomically(folder / "text.txt", long_text());
  write_file_atomically(folder / "sweep.json", sweep_text(more));
}

}  // namespace

TEST_CASE("a sweep is planned, run, found done, and its store merged and exported", "[cli][sweep]") {
  if (smollm2().empty()) return skip("the model is not here");
  const TemporaryFolder folder;
  prepare(folder);

  const Finished plan = mlaforge(folder.path(), {"sweep", "sweep.json", "--dry-run", "--threads", "1"});
  REQUIRE(plan.code == 0);
  CHECK_THAT(plan.out, Contains("2 configurations, 0 in the store, 2 to run"));
  CHECK_FALSE(fs::exists(folder / "runs.db"));

  const Finished first = mlaforge(folder.path(), {"sweep", "sweep.json", "--threads", "1"});
  INFO(first.err);
  REQUIRE(first.code == 0);
  CHECK_THAT(first.out, Contains("2 of 2 done (2 now)"));

  const auto started = std::chrono::steady_clock::now();
  const Finished again = mlaforge(folder.path(), {"sweep", "sweep.json", "--threads", "1"});
  CHECK(again.code == 0);
  CHECK_THAT(again.out, Contains("2 of 2 done (0 now)"));
  CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(60));  // it loads no model; the figure is in docs/performance.md
  CHECK(Store::open_read_only(folder / "runs.db").runs().size() == 2);

  const Finished merged = mlaforge(folder.path(), {"runs", "merge", "runs.db", "--store", "all.db"});
  INFO(merged.err);
  CHECK(merged.code == 0);
  CHECK_THAT(merged.out, Contains("2 runs added"));
  const Finished none = mlaforge(folder.path(), {"sweep", "sweep.json", "--threads", "1", "--store", "all.db"});
  CHECK_THAT(none.out, Contains("(0 now)"));
  const Finished diff = mlaforge(folder.path(), {"runs", "diff", "1", "2", "--store", "all.db"});
  CHECK(diff.code == 0);
  CHECK_THAT(diff.out, Contains("options.rope_selection"));
  const Finished csv = mlaforge(folder.path(), {"runs", "export", "--store", "all.db"});
  CHECK(std::count(csv.out.begin(), csv.out.end(), '\n') == 3);
  CHECK(mlaforge(folder.path(), {"runs", "tag", "1", "paper", "--store", "all.db"}).code == 0);
  CHECK(mlaforge(folder.path(), {"runs", "rm", "1", "9", "--store", "all.db"}).code == 2);
  CHECK(Store::open_read_only(folder / "all.db").runs().size() == 2);  // all or none
  CHECK(mlaforge(folder.path(), {"runs", "rm", "1", "--store", "all.db"}).code == 0);
  CHECK_THAT(mlaforge(folder.path(), {"runs", "gc", "--store", "all.db"}).out, Contains("0 unfinished"));
}

TEST_CASE("a sweep records what fails, goes on, and says what was wrong with a file before it begins", "[cli][sweep][errors]") {
  if (smollm2().empty()) return skip("the model is not here");
  const TemporaryFolder folder;
  prepare(folder, R"(, {"method": "mha2mla", "rope_selection": "high", "rope_dim": 32, "svd": "none", "max_windows": 1, "window": 8000})");  // longer than the text

  const Finished finished = mlaforge(folder.path(), {"sweep", "sweep.json", "--threads", "1"});
  CHECK(finished.code == 1);
  CHECK_THAT(finished.out, Contains("2 of 3 done") && Contains("1 failed") && Contains("window"));
  CHECK(mlaforge(folder.path(), {"sweep", "sweep.json", "--threads", "1"}).code == 1);  // not tried again unasked

  write_file_atomically(folder / "typo.json", R"({"name": "x", "grids": [{"metod": "transmla"}]})");
  const Finished typo = mlaforge(folder.path(), {"sweep", "typo.json"});
  CHECK(typo.code == 2);
  CHECK_THAT(typo.err, Contains("did you mean 'method'"));
  write_file_atomically(folder / "impossible.json", sweep_text(R"(, {"method": "transmla", "freqfold": 3, "cal_dataset": "text.txt"})"));
  const Finished impossible = mlaforge(folder.path(), {"sweep", "impossible.json"});
  CHECK(impossible.code == 2);
  CHECK_THAT(impossible.err, Contains("1 of 3"));
}

TEST_CASE("an interrupted sweep goes on where it was", "[cli][sweep]") {
  if (smollm2().empty()) return skip("the model is not here");
  const TemporaryFolder folder;
  prepare(folder);
  const Command command(folder.path(), {"sweep", "sweep.json", "--threads", "1", "--set", "max_windows=24"});
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  command.interrupt();
  const Finished stopped = const_cast<Command&>(command).wait();
  CHECK((stopped.code == 130 || stopped.code == 0));  // 0 where all was done before the signal

  const Finished rest = mlaforge(folder.path(), {"sweep", "sweep.json", "--threads", "1", "--set", "max_windows=24"});
  INFO(rest.err);
  CHECK(rest.code == 0);
  CHECK_THAT(rest.out, Contains("2 of 2 done"));
}

TEST_CASE("every experiment that is shipped can be read, and its flags are flags of run", "[cli][sweep]") {
  if (smollm2().empty()) return skip("the model is not here");
  const TemporaryFolder folder;
  write_file_atomically(folder / "text.txt", long_text());
  for (const auto& entry : fs::directory_iterator(source_dir() / "experiments" / "configs")) {
    // What does not fit this small model, or asks for a data set that is not here, says so; a typo would be another message.
    const Finished plan = mlaforge(folder.path(), {"sweep", entry.path().string(), "--dry-run", "--set", "model=" + smollm2().string(), "--set", "cal_dataset=text.txt"});
    INFO(entry.path().string() << ": " << plan.err);
    const bool planned = plan.code == 0 && plan.out.find(" configurations, 0 in the store") != std::string::npos;
    const bool too_large = plan.code == 2 && plan.err.find("configurations that fit their model") != std::string::npos && plan.err.find("no option") == std::string::npos;
    const bool no_data = plan.code == 3 && plan.err.find("looked for") != std::string::npos;
    CHECK((planned || too_large || no_data));
  }
}
