// Rows of a task's data file.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "eval/task_spec.h"

namespace mla {

struct TaskRow {
  Json columns;
  std::string where;  // "file:line" of JSONL, "file, row N" of a JSON array
};

struct TaskRows {
  std::filesystem::path path;
  std::string sha256;
  std::vector<std::string> warnings;  // content or number of rows differ from what the task names
  std::vector<TaskRow> rows;
};

// Where the file lies or should lie. `root` may be empty: then relative files have no place.
std::filesystem::path place_of(const DataFile& data, const std::filesystem::path& root);
bool is_there(const DataFile& data, const std::filesystem::path& root);

// Strict UTF-8, one object per line (or one array of objects), lines of at most 64 MiB. Throws CheckpointError: not there (where it
// was looked for, how to get it), a bad row (file and line), no row at all.
TaskRows load_rows(const DataFile& data, const std::filesystem::path& root);
// A JSON file beside the rows, such as LongBench's prompts.
Json load_object(const DataFile& data, const std::filesystem::path& root);

}  // namespace mla
