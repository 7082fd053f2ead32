// llama-bench's output formats: md, csv, json, jsonl, sql.
#pragma once
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "core/base/json.h"

namespace mla {

const std::vector<std::string>& bench_formats();

struct BenchColumn {  // of md
  std::string name;
  bool right = true;
};

struct BenchRecord {
  std::vector<std::pair<std::string, Json>> fields;  // in order, of every row the same; arrays (samples) are left out of csv and sql
  std::vector<std::string> cells;                    // of md, one per column
};

// Writes rows as they come. json has its brackets from begin() and end(); csv and sql name the fields before the first row.
class BenchPrinter {
 public:
  // Throws UsageError for an unknown format. `out` must outlive the printer; `table` is the name of sql's table.
  BenchPrinter(std::ostream& out, const std::string& format, std::string table, std::vector<BenchColumn> columns);
  void begin();
  void add(const BenchRecord& record);
  void end(const std::string& closing);  // a line below md's table; left out of the others

 private:
  void add_markdown(const BenchRecord& record);
  void add_csv(const BenchRecord& record);
  void add_sql(const BenchRecord& record);

  std::ostream& out_;
  std::string format_, table_;
  std::vector<BenchColumn> columns_;
  bool first_ = true;
};

}  // namespace mla
