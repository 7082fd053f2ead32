// Memory of the KV cache against the length of the context.
#include <map>

#include "plots/chart.h"
#include "plots/figure_rows.h"

namespace mla {
namespace {

constexpr double kFirst = 1024, kLast = 131072;  // tokens
constexpr std::size_t kMost = 12;                // series that a legend can hold

// Rows that cost the same are one line.
struct Line {
  std::string method, values;  // of the first one
  int count = 1;
};

// "original", "transmla ff4 r128, 192 values", "192 values, 5 conversions": a line of several is no method's, and has no method's colour.
ChartSeries series_of(const Line& line, double bytes_per_token, std::map<std::string, int>& seen) {
  const std::string name = line.count == 1 ? line.method + line.values : line.values.substr(2) + ", " + std::to_string(line.count) + " conversions";
  ChartSeries series{name, style_of(line.count == 1 ? name : "several", seen[line.count == 1 ? line.method.substr(0, line.method.find(' ')) : ""]++), {}};
  if (line.count > 1) series.style.color = "#000000";
  for (double tokens = kFirst; tokens <= kLast; tokens *= 2) series.points.push_back({.x = tokens, .y = bytes_per_token * tokens / (1 << 20)});
  return series;
}

FigureText make(const Store& store, const Table& table, const std::string& name) {
  const FigureRows rows(table, name, "no finished conversion; `mlaforge run` makes one");
  const std::string model = rows.only("Model", "model", "--model");
  const bool name_dtype = rows.distinct("dtype").size() > 1;
  std::map<double, Line, std::greater<>> by_bytes;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const auto values = rows.optional_number(row, "KV values");
    const std::string dtype = name_dtype ? " " + rows.text(row, "dtype") : "";
    const auto [line, is_new] = by_bytes.emplace(rows.number(row, "Bytes per token"),
                                                 Line{rows.text(row, "Method"), ", " + (values ? std::to_string(static_cast<int64_t>(*values)) : "?") + dtype + " values"});
    if (!is_new) ++line->second.count;
  }
  Chart chart{.title = model + ", KV cache of one sequence", .x_title = "Context, tokens (log scale)", .y_title = "MiB"};
  chart.x_logarithmic = true;
  std::map<std::string, int> seen;  // series of each method
  for (const auto& [bytes, line] : by_bytes)
    if (chart.series.size() < kMost) chart.series.push_back(series_of(line, bytes, seen));
  chart.caption = {"Values are per token and layer. Bytes counted from the cache: every layer's values in the run's dtype, quantised caches as measured",
                   by_bytes.size() > kMost ? "The " + std::to_string(kMost) + " largest of " + std::to_string(by_bytes.size()) : "", commits_of(store, model)};
  return write_chart(chart, name);
}

}  // namespace

const NamedFigure memory_figure{"memory", "memory", make};

}  // namespace mla
