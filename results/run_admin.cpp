#include "results/run_admin.h"

#include <algorithm>
#include <map>

#include "core/base/error.h"

namespace mla {
namespace {

constexpr const char* kChildTables[] = {"input", "stage_time", "metric", "sample", "answer", "tag"};

bool has_table(const Database& database, const char* name) {
  Statement read(database, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1");
  return read.bind(1, std::string_view(name)).step();
}

std::vector<std::string> columns_of(const Database& database, const std::string& table) {
  Statement read(database, "SELECT name FROM pragma_table_info(?1)");
  read.bind(1, table);
  std::vector<std::string> names;
  while (read.step()) names.push_back(read.text(0));
  return names;
}

void bind_cell(Statement& to, int index, const Statement& from, int column) {
  switch (from.type(column)) {
    case Statement::Type::null: to.bind_null(index); break;
    case Statement::Type::integer: to.bind(index, from.integer(column)); break;
    case Statement::Type::real: to.bind(index, from.real(column)); break;
    case Statement::Type::text: to.bind(index, from.text(column)); break;
  }
}

std::string listed(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

// Rows of one run under its new id. Columns are those of the older of the two schemas: steps only ever add some.
void copy_children(Database& into, const Database& from, const char* table, int64_t old_id, int64_t new_id) {
  if (!has_table(from, table)) return;
  const std::vector<std::string> columns = columns_of(from, table);
  std::string places;
  for (std::size_t i = 0; i < columns.size(); ++i) places += (i ? ", ?" : "?") + std::to_string(i + 1);
  Statement read(from, "SELECT " + listed(columns) + " FROM " + table + " WHERE run_id = ?1");
  Statement insert(into, std::string("INSERT INTO ") + table + " (" + listed(columns) + ") VALUES (" + places + ")");
  read.bind(1, old_id);
  while (read.step()) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const int index = static_cast<int>(i);
      if (columns[i] == "run_id") insert.bind(index + 1, new_id);
      else bind_cell(insert, index + 1, read, index);
    }
    insert.run();
  }
}

int64_t copy_run(Database& into, const Database& from, int64_t id) {
  std::vector<std::string> columns = columns_of(from, "run");
  std::erase(columns, "id");
  std::string places;
  for (std::size_t i = 0; i < columns.size(); ++i) places += (i ? ", ?" : "?") + std::to_string(i + 1);
  Statement read(from, "SELECT " + listed(columns) + " FROM run WHERE id = ?1");
  read.bind(1, id).step();
  Statement insert(into, "INSERT INTO run (" + listed(columns) + ") VALUES (" + places + ")");
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const int index = static_cast<int>(i);
    if (columns[i] != "attempt") {
      bind_cell(insert, index + 1, read, index);
      continue;
    }
    Statement last(into, "SELECT coalesce(max(attempt), 0) FROM run WHERE identity = ?1");
    last.bind(1, read.text(static_cast<int>(std::find(columns.begin(), columns.end(), "identity") - columns.begin()))).step();
    insert.bind(index + 1, last.integer(0) + 1);
  }
  insert.run();
  const int64_t added = into.last_insert_id();
  for (const char* table : kChildTables) copy_children(into, from, table, id, added);
  return added;
}

// What failed elsewhere has failed here too, unless it is done or under way here.
void copy_failed_jobs(Database& into, const Database& from) {
  Statement read(from, "SELECT key, label, flags, error, attempts, seconds FROM job WHERE status = 'failed'");
  Statement insert(into,
                   "INSERT INTO job (key, label, flags, status, error, attempts, seconds) VALUES (?1, ?2, ?3, 'failed', ?4, ?5, ?6) ON CONFLICT (key) DO UPDATE SET "
                   "status = 'failed', error = excluded.error, attempts = excluded.attempts, seconds = excluded.seconds WHERE job.status = 'pending'");
  while (read.step()) {
    for (int i = 0; i < 6; ++i) bind_cell(insert, i + 1, read, i);
    insert.run();
  }
}

// Jobs that are done elsewhere are done here too, so that a sweep over the merged store finds them.
int64_t copy_jobs(Database& into, const Database& from, const std::map<int64_t, int64_t>& ids) {
  if (!has_table(from, "job")) return 0;
  Statement read(from, "SELECT key, label, flags, run_id, attempts, seconds FROM job WHERE status = 'done'");
  Statement known(into, "SELECT 1 FROM job WHERE key = ?1 AND status = 'done'");
  Statement insert(into,
                   "INSERT INTO job (key, label, flags, status, run_id, attempts, seconds) VALUES (?1, ?2, ?3, 'done', ?4, ?5, ?6) ON CONFLICT (key) DO UPDATE SET "
                   "status = 'done', owner = NULL, lease_until = NULL, error = NULL, run_id = excluded.run_id, attempts = excluded.attempts, seconds = excluded.seconds");
  int64_t copied = 0;
  while (read.step()) {
    const auto run = ids.find(read.integer(3));
    const bool there = known.bind(1, read.text(0)).step();
    known.run();
    if (there || run == ids.end()) continue;
    insert.bind(1, read.text(0)).bind(2, read.text(1)).bind(3, read.text(2)).bind(4, run->second).bind(5, read.integer(4));
    bind_cell(insert, 6, read, 5);
    insert.run();
    ++copied;
  }
  copy_failed_jobs(into, from);
  Statement places(from, "SELECT sweep, position, key FROM sweep_job");
  Statement place(into, "INSERT OR IGNORE INTO sweep_job (sweep, position, key) SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM job WHERE key = ?3)");
  while (places.step()) place.bind(1, places.text(0)).bind(2, places.integer(1)).bind(3, places.text(2)).run();
  return copied;
}

int64_t remove_rows(Database& database, const char* sql) {
  Statement(database, sql).run();
  Statement changed(database, "SELECT changes()");
  return changed.step() ? changed.integer(0) : 0;
}

}  // namespace

void tag_run(Store& store, int64_t id, const std::string& name) {
  if (name.empty() || name.size() > 200) fail<ConfigError>("store", "wanted a tag of 1 to 200 characters, got ", name.size());
  Transaction transaction(store.database());
  store.read_run(id);  // it exists
  Statement(store.database(), "INSERT OR IGNORE INTO tag (run_id, name) VALUES (?1, ?2)").bind(1, id).bind(2, name).run();
  transaction.commit();
}

bool untag_run(Store& store, int64_t id, const std::string& name) {
  Transaction transaction(store.database());
  store.read_run(id);  // it exists
  Statement(store.database(), "DELETE FROM tag WHERE run_id = ?1 AND name = ?2").bind(1, id).bind(2, name).run();
  Statement changed(store.database(), "SELECT changes()");
  const bool removed = changed.step() && changed.integer(0) > 0;
  transaction.commit();
  return removed;
}

MergeReport merge_runs(Store& into, const Store& from) {
  MergeReport report;
  std::map<int64_t, int64_t> ids;  // of `from` -> of `into`
  Transaction transaction(into.database());
  Statement read(from.database(), "SELECT id, identity, status FROM run ORDER BY id");
  while (read.step()) {
    if (read.text(2) != "done") {
      ++report.unfinished;
      continue;
    }
    const std::optional<int64_t> known = into.find_done(read.text(1));
    ids[read.integer(0)] = known ? *known : copy_run(into.database(), from.database(), read.integer(0));
    ++(known ? report.known : report.added);
  }
  report.jobs = copy_jobs(into.database(), from.database(), ids);
  transaction.commit();
  return report;
}

GcReport collect_garbage(Store& store, bool all_unfinished, bool superseded) {
  Database& database = store.database();
  GcReport report;
  {
    Transaction transaction(database);
    report.unfinished = remove_rows(database, all_unfinished ? "DELETE FROM run WHERE status IN ('failed', 'interrupted')"
                                                             : "DELETE FROM run WHERE status IN ('failed', 'interrupted') AND EXISTS "
                                                               "(SELECT 1 FROM run d WHERE d.identity = run.identity AND d.status = 'done')");
    if (superseded)
      report.superseded = remove_rows(database, "DELETE FROM run WHERE status = 'done' AND id < (SELECT max(id) FROM run d WHERE d.identity = run.identity AND d.status = 'done')");
    report.jobs = remove_rows(database, "DELETE FROM job WHERE status <> 'running' AND key NOT IN (SELECT key FROM sweep_job)");
    transaction.commit();
  }
  database.execute("VACUUM");
  return report;
}

}  // namespace mla
