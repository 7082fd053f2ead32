#include "results/schema.h"

#include <iterator>
#include <string>

#include "core/base/error.h"

namespace mla {
namespace {

// Version 1. Meanings: docs/store.md. No CHECK calls json_valid(): SQLite 3.40 holds it unsafe while trusted_schema is off.
constexpr const char* kTables = R"(
CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  identity TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'interrupted')),
  method TEXT NOT NULL,
  label TEXT NOT NULL,
  model TEXT NOT NULL,
  architecture TEXT NOT NULL,
  corpus TEXT NOT NULL,
  protocol TEXT NOT NULL,
  config TEXT NOT NULL,
  stage_versions TEXT NOT NULL,
  dtype TEXT NOT NULL,
  device TEXT NOT NULL,
  threads INTEGER NOT NULL,
  seed INTEGER NOT NULL,
  ad_hoc_limit INTEGER NOT NULL CHECK (ad_hoc_limit IN (0, 1)),
  kv_values_original INTEGER,
  kv_values INTEGER,
  kv_values_by_layer TEXT,
  git_commit TEXT NOT NULL,
  git_dirty INTEGER NOT NULL CHECK (git_dirty IN (0, 1)),
  argv TEXT NOT NULL,
  host TEXT NOT NULL,
  library_versions TEXT NOT NULL,
  started_at TEXT NOT NULL,
  finished_at TEXT,
  peak_rss_mb REAL,
  peak_device_mb REAL,
  error TEXT,
  warnings TEXT NOT NULL,
  UNIQUE (identity, attempt)
) STRICT;
CREATE TABLE input (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  role TEXT NOT NULL,
  path TEXT NOT NULL,
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
  PRIMARY KEY (run_id, role, path)
) STRICT, WITHOUT ROWID;
CREATE TABLE stage_time (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  stage TEXT NOT NULL,
  seconds REAL NOT NULL,
  cpu_seconds REAL NOT NULL,
  PRIMARY KEY (run_id, stage)
) STRICT, WITHOUT ROWID;
CREATE TABLE metric (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  stage TEXT NOT NULL,
  name TEXT NOT NULL,
  protocol TEXT NOT NULL,
  value REAL NOT NULL CHECK (abs(value) < 1e308),
  std_error REAL CHECK (std_error IS NULL OR abs(std_error) < 1e308),
  count INTEGER NOT NULL,
  unit TEXT NOT NULL,
  better TEXT NOT NULL CHECK (better IN ('lower', 'higher', 'neither')),
  PRIMARY KEY (run_id, stage, name, protocol)
) STRICT, WITHOUT ROWID;
CREATE TABLE sample (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  stage TEXT NOT NULL,
  metric TEXT NOT NULL,
  position INTEGER NOT NULL,
  value REAL NOT NULL CHECK (abs(value) < 1e308),
  PRIMARY KEY (run_id, stage, metric, position)
) STRICT, WITHOUT ROWID;
)";

// Version 2: answers of tasks.
constexpr const char* kVersion2 = R"(
CREATE TABLE answer (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  task TEXT NOT NULL,
  stage TEXT NOT NULL,
  position INTEGER NOT NULL,
  item TEXT NOT NULL,
  prompt_sha256 TEXT NOT NULL CHECK (length(prompt_sha256) = 64),
  prediction TEXT NOT NULL,
  gold TEXT NOT NULL,
  score REAL NOT NULL CHECK (abs(score) < 1e308),
  tokens INTEGER NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (run_id, task, stage, position)
) STRICT, WITHOUT ROWID;
)";

// kSteps[v - 1] brings a database of version v to version v + 1.
constexpr const char* kSteps[] = {kVersion2};
static_assert(std::size(kSteps) == kSchemaVersion - 1);

int64_t pragma(const Database& database, const char* name) {
  Statement read(database, std::string("PRAGMA ") + name);
  return read.step() ? read.integer(0) : 0;
}

// A file without tables that another program has marked as its own is not empty.
bool is_empty(const Database& database) {
  Statement read(database, "SELECT count(*) FROM sqlite_schema");
  return read.step() && read.integer(0) == 0 && pragma(database, "application_id") == 0;
}

void require_ours(const Database& database) {
  if (pragma(database, "application_id") != kApplicationId)
    fail<StoreError>("store", database.path().string(), " is a database of another program; choose another --store");
}

}  // namespace

void create_or_migrate(Database& database) {
  if (!is_empty(database)) require_ours(database);
  database.execute("PRAGMA journal_mode = DELETE");  // rewrites the header of a WAL database, so only of one that is ours
  Transaction transaction(database);  // version and tables are read inside it, so that two processes cannot both create
  int64_t version = 1;
  if (is_empty(database)) {
    database.execute(kTables);
    database.execute(("PRAGMA application_id = " + std::to_string(kApplicationId)).c_str());
  } else {
    require_ours(database);
    version = pragma(database, "user_version");
    if (version == kSchemaVersion) return;
  }
  if (version < 1 || version > kSchemaVersion)
    fail<StoreError>("store", "wanted schema version ", kSchemaVersion, " in ", database.path().string(), ", got ", version,
                     version > kSchemaVersion ? "; a newer mlaforge wrote it: use that one, or another --store" : "; the file is damaged");
  for (int64_t v = version; v < kSchemaVersion; ++v) database.execute(kSteps[v - 1]);
  database.execute(("PRAGMA user_version = " + std::to_string(kSchemaVersion)).c_str());
  transaction.commit();
}

void check_readable(const Database& database) {
  if (is_empty(database)) fail<StoreError>("store", database.path().string(), " holds no runs; `mlaforge run --store FILE` makes them");
  require_ours(database);
  if (pragma(database, "user_version") < 1)
    fail<StoreError>("store", "wanted a schema version of at least 1 in ", database.path().string(), ", got ", pragma(database, "user_version"),
                     "; the file is damaged");
}

}  // namespace mla
