// Scores of tasks against cache: a group per task, a bar per model, the largest cache first.
#include <map>

#include "plots/bar_chart.h"
#include "plots/figure_rows.h"

namespace mla {
namespace {

constexpr std::size_t kMost = 10, kKeys = 5;  // series that a legend can hold; columns before those of tasks

FigureText make(const Store& store, const Table& table, const std::string& name) {
  const FigureRows rows(table, name, "no finished run over multiple-choice tasks; `mlaforge eval --tasks arc_easy` makes one");
  const std::string model = rows.only("Model", "model", "--model"), protocol = rows.only("Protocol", "protocol", "--protocol");
  const bool name_dtype = rows.distinct("dtype").size() > 1;
  BarChart chart{.title = model + ", " + protocol, .y_title = "Score"};
  for (std::size_t c = kKeys; c < table.columns.size(); ++c) chart.groups.push_back(table.columns[c].name);
  std::map<std::string, int> seen;
  for (std::size_t row = 0; row < std::min(rows.size(), kMost); ++row) {
    const std::string& label = rows.text(row, "Method");
    BarSeries series{label + (name_dtype ? ", " + rows.text(row, "dtype") : ""), style_of(label, seen[label.substr(0, label.find(' '))]++), {}};
    if (const auto values = rows.optional_number(row, "KV values")) series.name += ", " + std::to_string(static_cast<int64_t>(*values)) + " values";
    for (const std::string& group : chart.groups) {
      const auto value = rows.optional_number(row, group);
      series.bars.push_back(value ? std::optional(Bar{*value, rows.error(row, group).value_or(0)}) : std::nullopt);
    }
    chart.series.push_back(std::move(series));
  }
  chart.caption = {"Bars: one standard error over items", rows.size() > kMost ? "The " + std::to_string(kMost) + " largest caches of " + std::to_string(rows.size()) + " models" : "",
                   commits_of(store, model, "", protocol)};
  return write_bar_chart(chart, name);
}

}  // namespace

const NamedFigure tasks_vs_cache_figure{"tasks_vs_cache", "choices", make};

}  // namespace mla
