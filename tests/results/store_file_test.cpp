// The store as a file: its schema and pragmas, what is refused, what other processes and older versions left.
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/sha256.h"
#include "results/schema.h"
#include "results/store.h"
#include "tests/results/sample_runs.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

std::string hash_of(const fs::path& path) { return sha256_hex(read_text_file(path)); }

// A file that another program, or another version of ours, left.
void make_database(const fs::path& path, const std::vector<const char*>& statements) {
  Database database(path, Database::Mode::read_write_create);
  for (const char* sql : statements) database.execute(sql);
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// A process of its own that ends without cleaning up, in the middle of a run.
void write_in_child(const fs::path& path, int runs) {
  const pid_t child = fork();
  if (child == 0) {
    Store store = Store::open(path);
    for (int i = 0; i < runs; ++i) add_done(store, {.kv_values = 100 + i});
    store.begin_run(sample_record());
    _exit(0);
  }
  int state = 0;
  waitpid(child, &state, 0);
  REQUIRE(state == 0);
}

}  // namespace

TEST_CASE("a new store carries our application id, the schema version and strict tables", "[results]") {
  const TemporaryFolder folder;

  const Store store = Store::open(folder / "runs.db");

  CHECK(number(store.database(), "PRAGMA application_id") == kApplicationId);
  CHECK(number(store.database(), "PRAGMA user_version") == kSchemaVersion);
  CHECK(number(store.database(), "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'") == 11);
  CHECK(number(store.database(), "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND strict = 1") == 11);
}

TEST_CASE("a writing connection keeps a rollback journal, flushes fully, checks references and distrusts the schema", "[results]") {
  const TemporaryFolder folder;

  const Store store = Store::open(folder / "runs.db");

  Statement journal(store.database(), "PRAGMA journal_mode");
  REQUIRE(journal.step());
  CHECK(journal.text(0) == "delete");
  CHECK(number(store.database(), "PRAGMA synchronous") == 2);
  CHECK(number(store.database(), "PRAGMA foreign_keys") == 1);
  CHECK(number(store.database(), "PRAGMA trusted_schema") == 0);
}

TEST_CASE("a schema newer than ours is not written to", "[results][errors]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";
  const std::string newer = std::to_string(kSchemaVersion + 1);
  { Store::open(path).database().execute(("PRAGMA user_version = " + newer).c_str()); }

  const std::string message = message_of([&] { Store::open(path); });

  CHECK_THROWS_AS(Store::open(path), StoreError);
  CHECK_THAT(message, Catch::Contains("wanted schema version " + std::to_string(kSchemaVersion)) && Catch::Contains("got " + newer) && Catch::Contains("newer mlaforge"));
  CHECK_NOTHROW(Store::open_read_only(path));
}

TEST_CASE("a database of another program is refused and not one byte of it changes", "[results][errors]") {
  const TemporaryFolder folder;
  const fs::path tables = folder / "tables.db", marked = folder / "marked.db", log = folder / "log.db";
  make_database(tables, {"CREATE TABLE bookmark (url TEXT)"});
  make_database(marked, {"PRAGMA application_id = 7"});
  make_database(log, {"PRAGMA journal_mode = WAL", "CREATE TABLE bookmark (url TEXT)"});

  for (const fs::path& path : {tables, marked, log}) {
    const std::string before = hash_of(path);
    CHECK_THROWS_AS(Store::open(path), StoreError);
    CHECK_THROWS_AS(Store::open_read_only(path), StoreError);
    CHECK(hash_of(path) == before);
  }
}

TEST_CASE("a text file is not taken for a store", "[results][errors]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "notes.txt";
  const std::string text(5000, 'x');
  write_file_atomically(path, text);

  CHECK_THROWS_AS(Store::open(path), StoreError);
  CHECK_THROWS_AS(Store::open_read_only(path), StoreError);

  CHECK(read_text_file(path) == text);
}

TEST_CASE("a store that cannot be made there is a resource error that names the path", "[results][errors]") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", "x");
  const fs::path below = folder.path() / "file" / "runs.db", nowhere = folder.path() / "missing" / "runs.db";

  CHECK_THROWS_AS(Store::open(below), ResourceError);
  CHECK_THROWS_AS(Store::open(nowhere), ResourceError);

  CHECK_THAT(message_of([&] { Store::open(below); }), Catch::Contains(below.string()) && Catch::Contains("--store"));
}

TEST_CASE("a folder without write permission is a resource error", "[results][errors]") {
  if (geteuid() == 0) return skip("root writes everywhere");
  const TemporaryFolder folder;
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec);

  CHECK_THROWS_AS(Store::open(folder / "runs.db"), ResourceError);

  fs::permissions(folder.path(), fs::perms::owner_all);
}

TEST_CASE("a folder, a missing file and an empty file are no stores to read", "[results][errors]") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "empty.db", "");

  CHECK_THROWS_AS(Store::open(folder.path()), StoreError);
  CHECK_THROWS_AS(Store::open_read_only(folder.path()), StoreError);
  CHECK_THROWS_AS(Store::open_read_only(folder / "missing.db"), StoreError);
  CHECK_THROWS_AS(Store::open_read_only(folder / "empty.db"), StoreError);

  CHECK_FALSE(fs::exists(folder / "missing.db"));
  CHECK(fs::file_size(folder / "empty.db") == 0);
}

TEST_CASE("reading changes no byte and writing through it is refused", "[results]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";
  {
    Store store = Store::open(path);
    add_done(store);
  }
  const std::string before = hash_of(path);

  Store reader = Store::open_read_only(path);

  CHECK(reader.runs().size() == 1);
  CHECK_THROWS_AS(reader.begin_run(sample_record()), StoreError);
  CHECK(hash_of(path) == before);
}

TEST_CASE("runs of two processes are all there, and what the dead one left running is taken over", "[results]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";

  write_in_child(path, 3);
  write_in_child(path, 3);

  Store store = Store::open(path);
  CHECK(number(store.database(), "SELECT count(*) FROM run WHERE status = 'done'") == 6);
  CHECK(number(store.database(), "SELECT count(*) FROM run WHERE status = 'interrupted'") == 1);
  CHECK(number(store.database(), "SELECT count(*) FROM run WHERE status = 'running'") == 1);
}

TEST_CASE("a transaction that is not committed leaves nothing", "[results]") {
  const TemporaryFolder folder;
  Store store = Store::open(folder / "runs.db");
  const int64_t id = add_done(store);

  {
    const Transaction abandoned(store.database());
    store.database().execute("DELETE FROM run");
  }

  CHECK(store.runs().at(0).id == id);
}

TEST_CASE("a store of an older version is read as it is, and brought forward when it is written to", "[results][migration]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "runs.db";
  {
    Database old(path, Database::Mode::read_write_create);
    old.execute(read_text_file(golden("stores/schema_1.sql")).c_str());
  }
  {
    const Store store = Store::open_read_only(path);
    REQUIRE(store.runs().size() == 1);
    CHECK(number(store.database(), "PRAGMA user_version") == 1);
  }
  Store store = Store::open(path);
  CHECK(number(store.database(), "PRAGMA user_version") == kSchemaVersion);
  const auto [record, metrics] = store.read_run(1);
  CHECK(record.method == "stream_match");
  CHECK(metrics.size() == 3);
  store.answer_sink(1)->add({sample_answer(0)});
  CHECK(store.answers(1).size() == 1);
}
