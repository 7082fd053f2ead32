// What a search tried, and what it chose: perplexity against the option.
#include <map>

#include "core/base/error.h"
#include "core/base/names.h"
#include "plots/chart.h"
#include "plots/figure_rows.h"

namespace mla {
namespace {

constexpr std::size_t kMost = 12;

FigureText make(const Store& store, const Table& table, const std::string& name) {
  const FigureRows rows(table, name, "no finished run searched an option; `mlaforge run --method transmla --freqfold auto` does");
  const std::string model = rows.only("Model", "model", "--model");
  const std::set<std::string> options = rows.distinct("Option");
  if (options.size() > 1) fail<ConfigError>("plot", "wanted searches of one option, got ", join({options.begin(), options.end()}), "; narrow with --corpus or --protocol");
  std::map<int64_t, ChartSeries> by_run;
  std::map<std::string, int> seen;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const auto run = static_cast<int64_t>(rows.number(row, "Run"));
    if (by_run.count(run) == 0 && by_run.size() == kMost) continue;
    const auto [at, is_new] = by_run.try_emplace(run);
    const std::string& method = rows.text(row, "Method");
    if (is_new) at->second = {method + ", run " + std::to_string(run), style_of(method, seen[method.substr(0, method.find(' '))]++), {}};
    const bool chosen = rows.number(row, "Chosen") != 0;
    at->second.points.push_back({.x = rows.number(row, "Value"), .y = rows.number(row, "Perplexity"), .label = chosen ? "chosen" : ""});
  }
  Chart chart{.title = model + ", search of " + *options.begin(), .x_title = *options.begin() + " (log scale)", .y_title = "Perplexity of the candidates"};
  chart.x_logarithmic = true;
  for (auto& [run, series] : by_run) chart.series.push_back(std::move(series));
  const std::set<std::string> scored = rows.distinct("Scored on");
  chart.caption = {"Scored on " + join({scored.begin(), scored.end()}, " and "), commits_of(store, model)};
  return write_chart(chart, name);
}

}  // namespace

const NamedFigure search_figure{"search", "search", make};

}  // namespace mla
