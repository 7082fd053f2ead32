#include "results/schema.h"

#include <iterator>
#include <string>

#include "core/base/error.h"
#include "results/published.h"

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

// Columns of a key come first in tables without rowid: integrity_check of SQLite 3.40 reports a NULL, wrongly, where one lies between them.
// Version 3: jobs of sweeps, tags, and views for people with sqlite3, Datasette or pandas.
constexpr const char* kVersion3 = R"(
CREATE TABLE job (
  key TEXT PRIMARY KEY CHECK (length(key) = 64),
  label TEXT NOT NULL,
  flags TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'done', 'failed')),
  owner TEXT,
  lease_until INTEGER,
  attempts INTEGER NOT NULL,
  run_id INTEGER REFERENCES run (id) ON DELETE CASCADE,
  seconds REAL,
  error TEXT,
  CHECK ((status = 'running') = (owner IS NOT NULL AND lease_until IS NOT NULL)),
  CHECK ((status = 'done') = (run_id IS NOT NULL)),
  CHECK ((status = 'failed') = (error IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX job_run ON job (run_id);
CREATE TABLE sweep_job (
  sweep TEXT NOT NULL,
  key TEXT NOT NULL REFERENCES job (key) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  PRIMARY KEY (sweep, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX sweep_job_key ON sweep_job (key);
CREATE TABLE tag (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_identity ON run (identity, status);
CREATE VIEW latest_run AS
  SELECT * FROM run r WHERE status = 'done' AND ad_hoc_limit = 0
    AND id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done');
CREATE VIEW runs_wide AS
  SELECT r.id AS run_id, r.status, r.method, r.label, r.model, r.corpus, r.protocol, r.dtype, r.device, r.threads, r.seed, r.ad_hoc_limit,
    r.kv_values_original, r.kv_values,
    (SELECT value FROM metric WHERE run_id = r.id AND stage = 'original' AND name = 'perplexity' AND protocol = r.protocol) AS ppl_original,
    (SELECT value FROM metric WHERE run_id = r.id AND stage = 'partial_rope' AND name = 'perplexity' AND protocol = r.protocol) AS ppl_partial_rope,
    (SELECT value FROM metric WHERE run_id = r.id AND stage = 'mla' AND name = 'perplexity' AND protocol = r.protocol) AS ppl_mla,
    (SELECT std_error FROM metric WHERE run_id = r.id AND stage = 'mla' AND name = 'perplexity' AND protocol = r.protocol) AS ppl_mla_std_error,
    (SELECT value FROM metric WHERE run_id = r.id AND stage = 'mla' AND name = 'kld_mean' AND protocol = r.protocol) AS kld_mean,
    (SELECT value FROM metric WHERE run_id = r.id AND stage = 'mla' AND name = 'same_top_share' AND protocol = r.protocol) AS same_top_share,
    (SELECT sum(seconds) FROM stage_time WHERE run_id = r.id) AS seconds,
    r.peak_rss_mb, r.git_commit, r.git_dirty, r.host, r.started_at, r.finished_at, r.config, r.error, r.warnings, r.identity,
    (SELECT group_concat(name, ', ') FROM tag WHERE run_id = r.id) AS tags
  FROM run r;
CREATE VIEW zoo AS
  SELECT w.model, w.label, w.method, w.dtype, w.kv_values, w.kv_values_original,
    100.0 * (1.0 - 1.0 * w.kv_values / w.kv_values_original) AS saved_percent, w.ppl_original, w.ppl_partial_rope, w.ppl_mla, w.ppl_mla_std_error,
    w.kld_mean, w.same_top_share, w.seconds, w.corpus, w.protocol, w.run_id
  FROM runs_wide w JOIN latest_run l ON l.id = w.run_id WHERE w.ppl_mla IS NOT NULL;
CREATE VIEW best_per_budget AS
  SELECT model, corpus, protocol, dtype, kv_values, method, label, ppl_mla, ppl_mla_std_error, ppl_original, kld_mean, run_id
  FROM (SELECT *, row_number() OVER (PARTITION BY model, corpus, protocol, dtype, kv_values ORDER BY ppl_mla, run_id) AS place FROM zoo)
  WHERE place = 1;
CREATE VIEW pareto AS
  SELECT model, corpus, protocol, dtype, kv_values, method, label, ppl_mla, ppl_mla_std_error, ppl_original, kld_mean, run_id
  FROM (SELECT *, min(ppl_mla) OVER (PARTITION BY model, corpus, protocol, dtype ORDER BY kv_values
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS smaller FROM best_per_budget)
  WHERE smaller IS NULL OR ppl_mla < smaller;
)";

// Version 4: what papers printed (results/published.h fills it), and lists of runs without reading the runs' long texts.
constexpr const char* kVersion4 = R"(
CREATE TABLE published (
  id INTEGER PRIMARY KEY,
  paper TEXT NOT NULL,
  place TEXT NOT NULL,
  url TEXT,
  method TEXT NOT NULL,
  recipe TEXT,
  model TEXT NOT NULL,
  stage TEXT NOT NULL CHECK (stage IN ('original', 'partial_rope', 'mla', 'finetuned')),
  kv_values INTEGER,
  saved_percent REAL,
  trained TEXT,
  dataset TEXT NOT NULL,
  metric TEXT NOT NULL,
  value REAL NOT NULL CHECK (abs(value) < 1e308),
  unit TEXT NOT NULL,
  better TEXT NOT NULL CHECK (better IN ('lower', 'higher')),
  corpus TEXT,
  protocol TEXT,
  settings TEXT NOT NULL,
  note TEXT
) STRICT;
CREATE TABLE program_data (
  name TEXT PRIMARY KEY,
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_list ON run (id, status, attempt, model, label, corpus, protocol, dtype, started_at, finished_at, ad_hoc_limit, error);
)";

// kSteps[v - 1] brings a database of version v to version v + 1.
constexpr const char* kSteps[] = {kVersion2, kVersion3, kVersion4};
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
  }
  if (version < 1 || version > kSchemaVersion)
    fail<StoreError>("store", "wanted schema version ", kSchemaVersion, " in ", database.path().string(), ", got ", version,
                     version > kSchemaVersion ? "; a newer mlaforge wrote it: use that one, or another --store" : "; the file is damaged");
  for (int64_t v = version; v < kSchemaVersion; ++v) database.execute(kSteps[v - 1]);
  if (version < kSchemaVersion) database.execute(("PRAGMA user_version = " + std::to_string(kSchemaVersion)).c_str());
  write_published(database);
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
