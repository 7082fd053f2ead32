// Needle in a haystack: the share found by length of the text and depth of the needle, a panel per model.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

#include "core/base/error.h"
#include "core/base/names.h"
#include "plots/heat_map.h"

namespace mla {
namespace {

using Row = std::vector<Cell>;

// Columns of the query needle.
enum Column : std::size_t { kModel, kMethod, kDtype, kKvValues, kLength, kDepth, kScore, kItems, kCorpus, kProtocol };

template <class T>
const T& cell(const Row& row, Column column) {
  const T* value = std::get_if<T>(&row.at(column));
  if (value == nullptr) fail<StoreError>("plot", "a run holds no usable value for needle (column ", +column, "); is this store damaged?");
  return *value;
}

void require_one(const Table& table, Column column, const char* what, const char* flag) {
  std::set<std::string> values;
  for (const Row& row : table.rows) values.insert(cell<std::string>(row, column));
  if (values.size() > 1) fail<ConfigError>("plot", "wanted rows of one ", what, ", got ", join({values.begin(), values.end()}), "; choose one with ", flag);
}

// "SmolLM2, transmla ff4 r64, fp32, 96 values per token and layer"
std::string panel_title(const Row& row) {
  std::string title = cell<std::string>(row, kMethod) + ", " + cell<std::string>(row, kDtype);
  if (const auto* values = std::get_if<int64_t>(&row.at(kKvValues))) title += ", " + std::to_string(*values) + " values per token and layer";
  return title;
}

template <class T>
std::size_t index_in(const std::set<T>& values, const T& value) {
  return static_cast<std::size_t>(std::distance(values.begin(), values.find(value)));
}

std::string per_cent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g %%", 100 * share);
  return text;
}

// Rows come ordered by model, cache, method and dtype.
FigureText make(const Table& table, const std::string& name) {
  if (table.rows.empty()) fail<ConfigError>("plot", "nothing to draw: no finished run over a needle task; `mlaforge eval --tasks niah` makes one");
  require_one(table, kModel, "model", "--model");
  require_one(table, kCorpus, "task", "--corpus");
  require_one(table, kProtocol, "protocol", "--protocol");
  std::set<int64_t> lengths;
  std::set<double> depths;
  for (const Row& row : table.rows) lengths.insert(cell<int64_t>(row, kLength)), depths.insert(cell<double>(row, kDepth));

  const Row& first = table.rows.front();
  HeatMap map{.title = cell<std::string>(first, kModel) + ", " + cell<std::string>(first, kCorpus) + ", " + cell<std::string>(first, kProtocol),
              .x_title = "Length of the prompt, tokens", .y_title = "Depth of the needle", .value_title = "Score", .x_labels = {}, .y_labels = {}, .panels = {}};
  for (const int64_t length : lengths) map.x_labels.push_back(std::to_string(length));
  for (const double depth : depths) map.y_labels.push_back(per_cent(depth));
  for (const Row& row : table.rows) {
    const std::string title = panel_title(row);
    if (map.panels.empty() || map.panels.back().title != title) map.panels.push_back({title, {}});
    map.panels.back().cells.push_back({index_in(lengths, cell<int64_t>(row, kLength)), index_in(depths, cell<double>(row, kDepth)), cell<double>(row, kScore)});
  }
  return write_heat_map(map, name);
}

}  // namespace

const NamedFigure needle_figure{"needle", "needle", make};

}  // namespace mla
