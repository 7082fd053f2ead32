#include "eval/task_data.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/sha256.h"
#include "eval/instruct_rows.h"

namespace mla {
namespace fs = std::filesystem;
namespace {

constexpr JsonLimits kRowLimits{.max_bytes = std::size_t{64} << 20};

std::string read(const DataFile& data, const fs::path& root) {
  if (!is_there(data, root)) {
    const fs::path path = place_of(data, root);
    fail<CheckpointError>("data", "wanted ", data.file, ", which is not there; looked for ",
                          path.empty() ? std::string("a data root (--data-root or MLAFORGE_DATA), of which there is none") : path.string(),
                          data.how.empty() ? "" : "; ", data.how);
  }
  return read_text_file(place_of(data, root));
}

std::vector<TaskRow> split_lines(std::string_view text, const std::string& file) {
  std::vector<TaskRow> rows;
  std::size_t line = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view row = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string where = file + ":" + std::to_string(++line);
    if (row.ends_with('\r')) row.remove_suffix(1);
    if (row.empty()) fail<CheckpointError>("data", "wanted one JSON object per line, got an empty line at ", where, "; remove it");
    rows.push_back({parse_json(row, where, kRowLimits), where});
  }
  return rows;
}

std::vector<TaskRow> split_array(std::string_view text, const std::string& file) {
  std::vector<TaskRow> rows;
  Json all = parse_json(text, file);
  if (!all.is_array()) fail<CheckpointError>("data", "wanted an array of objects in ", file, ", got ", all.type_name());
  for (std::size_t i = 0; i < all.size(); ++i) rows.push_back({std::move(all[i]), file + ", row " + std::to_string(i + 1)});
  return rows;
}

void note_differences(const DataFile& data, TaskRows& loaded) {
  const std::string name = loaded.path.string();
  if (!data.sha256.empty() && loaded.sha256 != data.sha256)
    loaded.warnings.push_back(name + " has sha256 " + loaded.sha256.substr(0, 12) + ", the task says " + data.sha256.substr(0, 12));
  if (data.rows != 0 && static_cast<int64_t>(loaded.rows.size()) != data.rows)
    loaded.warnings.push_back(name + " has " + std::to_string(loaded.rows.size()) + " rows, the task says " + std::to_string(data.rows));
}

}  // namespace

fs::path place_of(const DataFile& data, const fs::path& root) {
  if (fs::path(data.file).is_absolute()) return data.file;
  return root.empty() ? fs::path() : root / data.file;
}

bool is_there(const DataFile& data, const fs::path& root) {
  std::error_code ignored;
  const fs::path path = place_of(data, root);
  return !path.empty() && fs::is_regular_file(path, ignored);
}

TaskRows load_rows(const DataFile& data, const fs::path& root) {
  const std::string text = read(data, root);
  TaskRows loaded{place_of(data, root), sha256_hex(text), {}, {}};
  const std::string file = loaded.path.string();
  const bool instruct = data.format.starts_with("instruct-");
  loaded.rows = data.format == "jsonl" ? split_lines(text, file) : split_array(text, file);
  if (loaded.rows.empty()) fail<CheckpointError>("data", "wanted at least one row in ", file, ", got none");
  for (TaskRow& row : loaded.rows) {
    if (!row.columns.is_object()) fail<CheckpointError>("data", "wanted an object at ", row.where, ", got ", row.columns.type_name());
    if (instruct) row.columns = parse_instruct_row(row.columns, data.format, row.where);
  }
  note_differences(data, loaded);
  return loaded;
}

Json load_object(const DataFile& data, const fs::path& root) {
  Json object = parse_json(read(data, root), place_of(data, root).string());
  if (!object.is_object()) fail<CheckpointError>("data", "wanted an object in ", data.file, ", got ", object.type_name());
  return object;
}

}  // namespace mla
