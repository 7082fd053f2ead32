// Perplexity, or the divergence from the original, against cache size: every run a point, the best of each method and cache size joined by a line, and
// the Pareto front of all.
#include <algorithm>
#include <iterator>
#include <map>

#include "plots/chart.h"
#include "plots/figure_rows.h"
#include "plots/format.h"

namespace mla {
namespace {

// "transmla ff4 r64" in the series transmla is "ff4 r64".
std::string short_label(const FigureRows& rows, std::size_t row) {
  const std::string &label = rows.text(row, "Label"), prefix = rows.text(row, "Method") + ' ';
  return label.size() > prefix.size() && label.compare(0, prefix.size(), prefix) == 0 ? label.substr(prefix.size()) : label;
}

// Bars that say how sure a difference is: all runs score the same windows, so the error of the ratio to the original is smaller than that of the mean.
// Only where every row has it.
bool all_paired(const FigureRows& rows) {
  for (std::size_t row = 0; row < rows.size(); ++row)
    if (!rows.optional_number(row, "Paired error")) return false;
  return true;
}

// Rows come ordered by dtype, method, cache and value.
std::vector<ChartSeries> series_of(const FigureRows& rows, const std::string& value, bool name_dtype, bool paired) {
  std::map<std::string, ChartSeries> by_name;
  std::map<std::string, std::set<std::string>> dtypes;  // of each method, for their marks
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (!rows.optional_number(row, value)) continue;
    const std::string &method = rows.text(row, "Method"), &dtype = rows.text(row, "dtype"), name = method + (name_dtype ? " " + dtype : "");
    dtypes[method].insert(dtype);
    ChartSeries& series = by_name[name];
    series.name = name;
    series.style = style_of(method, static_cast<int>(std::distance(dtypes[method].begin(), dtypes[method].find(dtype))));
    const std::optional<double> error = paired ? rows.optional_number(row, "Paired error") : rows.error(row, value);
    series.points.push_back({.x = rows.number(row, "KV values"), .y = rows.number(row, value), .y_error = error.value_or(0), .label = short_label(rows, row)});
  }
  std::vector<ChartSeries> all;
  for (auto& [name, series] : by_name) {
    std::stable_sort(series.points.begin(), series.points.end(), [](const ChartPoint& a, const ChartPoint& b) { return a.x != b.x ? a.x < b.x : a.y < b.y; });
    all.push_back(std::move(series));
  }
  return all;
}

// The original's perplexity, once for each dtype that scored it.
std::vector<ChartLevel> originals_of(const FigureRows& rows, bool name_dtype) {
  std::map<std::string, double> by_dtype;
  for (std::size_t row = 0; row < rows.size(); ++row)
    if (const auto perplexity = rows.optional_number(row, "Original ppl")) by_dtype.emplace(rows.text(row, "dtype"), *perplexity);
  std::vector<ChartLevel> levels;
  for (const auto& [dtype, perplexity] : by_dtype)
    levels.push_back({"original" + (name_dtype ? " " + dtype : "") + format(" %.2f", perplexity), perplexity});
  return levels;
}

struct Drawn {
  const char* value;  // column of the query
  const char* y_title;
  bool is_perplexity;
};

FigureText draw(const Store& store, const Table& table, const std::string& name, const Drawn& drawn) {
  const FigureRows rows(table, name, "no finished conversion with these corpus, protocol and model; `mlaforge runs` lists all");
  const std::string model = rows.only("Model", "model", "--model"), corpus = rows.only("Corpus", "corpus", "--corpus"), protocol = rows.only("Protocol", "protocol", "--protocol");
  const bool name_dtype = rows.distinct("dtype").size() > 1, paired = drawn.is_perplexity && all_paired(rows);
  Chart chart{.title = model + ", " + corpus + ", " + protocol, .x_title = "KV cache, values per token and layer", .y_title = drawn.y_title,
              .series = series_of(rows, drawn.value, name_dtype, paired)};
  if (chart.series.empty()) FigureRows({}, name, "no finished run has a divergence from its original");
  if (drawn.is_perplexity) chart.levels = originals_of(rows, name_dtype);
  chart.front = front_of(chart.series);
  chart.caption = {"Lines join the best run of each method and cache size",
                   paired ? "Bars: one standard error of the difference from the original on the same windows" : "Bars: one standard error of the mean over windows",
                   commits_of(store, model, corpus, protocol)};
  return write_chart(chart, name);
}

FigureText make_perplexity(const Store& store, const Table& table, const std::string& name) { return draw(store, table, name, {"MLA ppl", "Perplexity", true}); }

FigureText make_divergence(const Store& store, const Table& table, const std::string& name) {
  return draw(store, table, name, {"KL nats", "Mean KL divergence from the original, nats per token", false});
}

}  // namespace

const NamedFigure ppl_vs_cache_figure{"ppl_vs_cache", "ppl_vs_cache", make_perplexity};
const NamedFigure kld_vs_cache_figure{"kld_vs_cache", "ppl_vs_cache", make_divergence};

}  // namespace mla
