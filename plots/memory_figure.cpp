// Memory of the KV cache against the length of the context.
#include <map>

#include "plots/chart.h"
#include "plots/figure_rows.h"

namespace mla {
namespace {

constexpr double kFirst = 1024, kLast = 131072;  // tokens
constexpr std::size_t kMost = 12;                // series that a legend can hold

// Rows that cost the same are one line: the first one's name, and how many more.
struct Line {
  std::string name;
  int others = 0;
};

FigureText make(const Store& store, const Table& table, const std::string& name) {
  const FigureRows rows(table, name, "no finished conversion; `mlaforge run` makes one");
  const std::string model = rows.only("Model", "model", "--model");
  const bool name_dtype = rows.distinct("dtype").size() > 1;
  std::map<double, Line, std::greater<>> by_bytes;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const std::string label = rows.text(row, "Method") + (name_dtype ? ", " + rows.text(row, "dtype") : "");
    const auto [line, is_new] = by_bytes.emplace(rows.number(row, "Bytes per token"), Line{label});
    if (!is_new) ++line->second.others;
  }
  Chart chart{.title = model + ", KV cache of one sequence", .x_title = "Context, tokens (log scale)", .y_title = "MiB"};
  chart.x_logarithmic = true;
  std::map<std::string, int> seen;  // series of each method
  for (const auto& [bytes, line] : by_bytes) {
    if (chart.series.size() == kMost) break;
    const std::string method = line.name.substr(0, line.name.find(' '));
    ChartSeries series{line.name + (line.others > 0 ? " and " + std::to_string(line.others) + " more" : ""), style_of(line.name, seen[method]++), {}};
    for (double tokens = kFirst; tokens <= kLast; tokens *= 2) series.points.push_back({.x = tokens, .y = bytes * tokens / (1 << 20)});
    chart.series.push_back(std::move(series));
  }
  chart.caption = {"Bytes counted from the cache: every layer's values in the run's dtype, quantised caches as measured",
                   by_bytes.size() > kMost ? "The " + std::to_string(kMost) + " largest of " + std::to_string(by_bytes.size()) : "", commits_of(store, model)};
  return write_chart(chart, name);
}

}  // namespace

const NamedFigure memory_figure{"memory", "memory", make};

}  // namespace mla
