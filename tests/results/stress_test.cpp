// What happens to a store when many write, the disk is full, or its bytes are damaged.
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "results/integrity.h"
#include "tests/results/sample_runs.h"
#include "tests/support/bytes.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

// Transactions of each of 16 processes; docs/performance.md has the figure of 1,000.
int64_t transactions_each() {
  const std::string given = environment("MLAFORGE_STRESS");
  return given.empty() ? 40 : std::stoll(given);
}

// A child that commits batches of answers of its own run, and exits 0 only when every one was acknowledged.
pid_t write_in_child(const fs::path& path, int number, int64_t transactions) {
  const pid_t child = fork();
  if (child != 0) return child;
  int code = 1;
  try {
    Store store = Store::open(path);
    const int64_t run = store.begin_run(sample_record({.kv_values = 1000 + number}));
    const auto sink = store.sink(run);
    for (int64_t i = 0; i < transactions; ++i) sink->add({{"mla", "nll", i, static_cast<double>(i)}});
    code = 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child %d: %s\n", number, error.what());
  }
  _exit(code);
}

int64_t count_of(const Store& store, const char* sql) {
  Statement read(store.database(), sql);
  return read.step() ? read.integer(0) : -1;
}

// A file system of its own size, as a full disk is; unmounted at the end.
class SmallDisk {
 public:
  SmallDisk(const fs::path& folder, const char* options) : folder_(folder), there_(mount("tmpfs", folder.c_str(), "tmpfs", 0, options) == 0) {}
  ~SmallDisk() {
    if (there_) umount2(folder_.c_str(), MNT_DETACH);
  }
  bool there() const { return there_; }

 private:
  fs::path folder_;
  bool there_;
};

// Overwrites the second half of the file's pages; the header stays readable.
void damage(const fs::path& path) {
  const uintmax_t size = fs::file_size(path);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(size / 2));
  file << std::string(static_cast<std::size_t>(size - size / 2), '\x5a');
}

}  // namespace

TEST_CASE("16 processes write to one store at once and nothing is lost", "[results][stress]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";
  Store::open(path);
  const int64_t each = transactions_each();
  std::vector<pid_t> children;
  for (int i = 0; i < 16; ++i) children.push_back(write_in_child(path, i, each));
  for (const pid_t child : children) {
    int state = -1;
    waitpid(child, &state, 0);
    CHECK(state == 0);
  }
  const Store store = Store::open_read_only(path);
  CHECK(count_of(store, "SELECT count(*) FROM run") == 16);
  CHECK(count_of(store, "SELECT count(*) FROM sample") == 16 * each);
  CHECK(check_store(path).problems.empty());
}

TEST_CASE("on a full disk the transaction fails whole, what was acknowledged stays, and there is a way on", "[results][stress][errors]") {
  const TemporaryFolder folder;
  const SmallDisk disk(folder.path(), "size=4m");
  if (!disk.there()) return skip("a small disk wants the right to mount");
  const fs::path path = folder / "runs.db";
  Store store = Store::open(path);
  int64_t acknowledged = 0;
  std::string error;
  try {
    for (;; ++acknowledged) add_done(store, {.kv_values = acknowledged + 1});
  } catch (const ResourceError& full) {
    error = full.what();
  }
  CHECK_THAT(error, Contains("no space") && Contains(path.string()));
  CHECK(acknowledged > 0);
  CHECK(count_of(store, "SELECT count(*) FROM run WHERE status = 'done'") == acknowledged);
  CHECK(check_store(path).problems.empty());
  CHECK_NOTHROW(store.find_done(run_identity(sample_record())));
}

TEST_CASE("a damaged store is reported with advice, stays as it is, and harms no other", "[results][errors]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db", other = folder / "other.db";
  for (const fs::path& each : {path, other}) {
    Store store = Store::open(each);
    for (int i = 0; i < 200; ++i) add_done(store, {.kv_values = i + 1});
  }
  CHECK(check_store(path).problems.empty());
  damage(path);
  const std::string before = read_text_file(path);
  const StoreHealth health = check_store(path);
  CHECK_FALSE(health.problems.empty());
  const auto read_all = [&] { return Store::open_read_only(path).runs().size(); };
  CHECK_THROWS_WITH(read_all(), Contains("malformed") && Contains(".recover"));
  CHECK(read_text_file(path) == before);
  CHECK(check_store(other).runs == 200);
}

TEST_CASE("the views and tables are open to Python's sqlite3", "[results]") {
  if (std::system("python3 -c 'import sqlite3' 2>/dev/null") != 0) return skip("python3 with sqlite3 is not here");
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";
  {
    Store store = Store::open(path);
    for (int i = 0; i < 3; ++i) add_done(store, {.kv_values = 96 + i, .perplexity = 30.0 + i});
  }
  write_bytes(folder / "read.py", R"(
import sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
for view, rows in (("zoo", 3), ("best_per_budget", 3), ("pareto", 1), ("runs_wide", 3), ("latest_run", 3)):
    got = db.execute(f"SELECT * FROM {view}").fetchall()
    assert len(got) == rows, (view, len(got))
values = [row[0] for row in db.execute("SELECT value FROM metric WHERE name = 'perplexity' AND stage = 'mla' ORDER BY value")]
assert values == [30.0, 31.0, 32.0], values
assert db.execute("SELECT json_extract(config, '$.options.rank') FROM run ORDER BY id").fetchone() == (96,)
)");
  CHECK(std::system(("python3 '" + (folder / "read.py").string() + "' '" + path.string() + "'").c_str()) == 0);
}
