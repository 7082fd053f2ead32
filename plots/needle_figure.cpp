// Needle in a haystack: the share found by length of the text and depth of the needle, a panel per model.
#include <iterator>

#include "plots/figure_rows.h"
#include "plots/format.h"
#include "plots/heat_map.h"

namespace mla {
namespace {

// "transmla ff4 r64, fp32, 96 values per token and layer"
std::string panel_title(const FigureRows& rows, std::size_t row) {
  std::string title = rows.text(row, "Method") + ", " + rows.text(row, "dtype");
  if (const auto values = rows.optional_number(row, "KV values")) title += ", " + std::to_string(static_cast<int64_t>(*values)) + " values per token and layer";
  return title;
}

template <class T>
std::size_t index_in(const std::set<T>& values, const T& value) {
  return static_cast<std::size_t>(std::distance(values.begin(), values.find(value)));
}

// Rows come ordered by model, cache, method and dtype.
FigureText make(const Store& store, const Table& table, const std::string& name) {
  const FigureRows rows(table, name, "no finished run over a needle task; `mlaforge eval --tasks niah` makes one");
  const std::string model = rows.only("Model", "model", "--model"), task = rows.only("Task", "task", "--corpus"), protocol = rows.only("Protocol", "protocol", "--protocol");
  std::set<int64_t> lengths;
  std::set<double> depths;
  for (std::size_t row = 0; row < rows.size(); ++row) lengths.insert(static_cast<int64_t>(rows.number(row, "Length"))), depths.insert(rows.number(row, "Depth"));

  HeatMap map{.title = model + ", " + task + ", " + protocol, .x_title = "Length of the prompt, tokens", .y_title = "Depth of the needle", .value_title = "Score",
              .caption = {"Mean score of each length and depth", commits_of(store, model, task, protocol)}};
  for (const int64_t length : lengths) map.x_labels.push_back(std::to_string(length));
  for (const double depth : depths) map.y_labels.push_back(format("%.4g %%", 100 * depth));
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const std::string title = panel_title(rows, row);
    if (map.panels.empty() || map.panels.back().title != title) map.panels.push_back({title, {}});
    map.panels.back().cells.push_back({index_in(lengths, static_cast<int64_t>(rows.number(row, "Length"))), index_in(depths, rows.number(row, "Depth")), rows.number(row, "Score")});
  }
  return write_heat_map(map, name);
}

}  // namespace

const NamedFigure needle_figure{"needle", "needle", make};

}  // namespace mla
