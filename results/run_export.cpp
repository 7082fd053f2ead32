#include "results/run_export.h"

#include "core/base/error.h"
#include "results/query_table.h"
#include "results/schema.h"
#include "results/table_writer.h"

namespace mla {
namespace {

std::string as_csv(const Store& store) {
  Statement read(store.database(), "SELECT * FROM runs_wide ORDER BY run_id");
  Statement names(store.database(), "SELECT name FROM pragma_table_info('runs_wide')");
  Table table{"runs_wide", {}, {}};
  while (names.step()) table.columns.push_back({names.text(0)});
  while (read.step()) {
    std::vector<Cell> cells;
    for (int column = 0; column < read.columns(); ++column) cells.push_back(cell_of(read, column));
    table.rows.push_back(std::move(cells));
  }
  return write_table(table, TableFormat::csv);
}

std::string as_jsonl(const Store& store) {
  std::string lines;
  for (const RunSummary& run : store.runs()) lines += store.run_json(run.id).dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  return lines;
}

// The texts of the schema, then the rows table by table in an order that references allow.
std::string as_sql(const Store& store) {
  const Database& database = store.database();
  std::string sql = "PRAGMA foreign_keys = OFF;\nBEGIN;\nPRAGMA application_id = " + std::to_string(kApplicationId) + ";\n";
  Statement version(database, "PRAGMA user_version");
  version.step();
  sql += "PRAGMA user_version = " + std::to_string(version.integer(0)) + ";\n";
  Statement schema(database, "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type = 'view', type <> 'table', rowid");
  std::string later;
  while (schema.step()) {
    if (schema.text(0) != "table") {
      later += schema.text(2) + ";\n";
      continue;
    }
    sql += schema.text(2) + ";\n";
    const std::string table = schema.text(1);
    Statement columns(database, "SELECT group_concat('quote(' || name || ')', ' || '','' || ') FROM pragma_table_info(?1)");
    columns.bind(1, table).step();
    Statement rows(database, "SELECT " + columns.text(0) + " FROM " + table);
    while (rows.step()) sql += "INSERT INTO " + table + " VALUES(" + rows.text(0) + ");\n";
  }
  return sql + later + "COMMIT;\n";
}

}  // namespace

std::string export_runs(const Store& store, const std::string& format) {
  if (format == "csv") return as_csv(store);
  if (format == "jsonl") return as_jsonl(store);
  if (format == "sql") return as_sql(store);
  fail<ConfigError>("export", "wanted csv, jsonl or sql, got ", format);
}

}  // namespace mla
