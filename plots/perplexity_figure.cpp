// Perplexity against cache size: every run a point, the best of each method and cache size joined by a line. No error
// bars: all runs are scored on the same windows, so their errors are shared and bars would hide real differences.
#include <cstdio>
#include <map>
#include <set>

#include "core/base/error.h"
#include "core/base/names.h"
#include "plots/chart.h"

namespace mla {
namespace {

using Row = std::vector<Cell>;

// Columns of the query ppl_vs_cache.
enum Column : std::size_t { kMethod, kLabel, kKvValues, kPerplexity, kModel, kCorpus, kProtocol, kDtype, kOriginal, kOriginalKv, kError };

// A store of someone else's making may hold any type anywhere.
template <class T>
const T& cell(const Row& row, Column column) {
  const T* value = std::get_if<T>(&row.at(column));
  if (value == nullptr) fail<StoreError>("plot", "a run holds no usable value for ppl_vs_cache (column ", +column, "); is this store damaged?");
  return *value;
}

const std::string& text_of(const Row& row, Column column) { return cell<std::string>(row, column); }

std::set<std::string> distinct(const Table& table, Column column) {
  std::set<std::string> values;
  for (const Row& row : table.rows) values.insert(text_of(row, column));
  return values;
}

// Two protocols, corpora or models in one figure would compare what cannot be compared.
void require_one(const Table& table, Column column, const char* what, const char* flag) {
  const std::set<std::string> values = distinct(table, column);
  if (values.size() > 1)
    fail<ConfigError>("plot", "wanted rows of one ", what, ", got ", join({values.begin(), values.end()}), "; choose one with ", flag);
}

// "transmla ff4 r64" in the series transmla is "ff4 r64".
std::string short_label(const Row& row) {
  const std::string &label = text_of(row, kLabel), prefix = text_of(row, kMethod) + ' ';
  return label.size() > prefix.size() && label.compare(0, prefix.size(), prefix) == 0 ? label.substr(prefix.size()) : label;
}

// Rows come ordered by dtype, method, cache and perplexity.
std::vector<ChartSeries> series_of(const Table& table, bool name_dtype) {
  std::map<std::string, ChartSeries> by_name;
  for (const Row& row : table.rows) {
    const std::string name = text_of(row, kMethod) + (name_dtype ? " " + text_of(row, kDtype) : "");
    const auto* error = std::get_if<double>(&row.at(kError));
    by_name[name].points.push_back({.x = static_cast<double>(cell<int64_t>(row, kKvValues)), .y = cell<double>(row, kPerplexity),
                                    .y_error = error != nullptr ? *error : 0, .label = short_label(row)});
  }
  std::vector<ChartSeries> all;
  for (auto& [name, series] : by_name) all.push_back({name, std::move(series.points)});
  return all;
}

// The original's perplexity, once for each dtype that scored it.
std::vector<ChartLevel> originals_of(const Table& table, bool name_dtype) {
  std::map<std::string, double> by_dtype;
  for (const Row& row : table.rows)
    if (const auto* perplexity = std::get_if<double>(&row.at(kOriginal))) by_dtype.emplace(text_of(row, kDtype), *perplexity);
  std::vector<ChartLevel> levels;
  for (const auto& [dtype, perplexity] : by_dtype) {
    char number[32];
    std::snprintf(number, sizeof number, " %.2f", perplexity);
    levels.push_back({"original" + (name_dtype ? " " + dtype : "") + number, perplexity});
  }
  return levels;
}

FigureText make(const Table& table, const std::string& name) {
  if (table.rows.empty())
    fail<ConfigError>("plot", "nothing to draw: no finished conversion with these corpus, protocol and model; `mlaforge runs` lists all");
  require_one(table, kModel, "model", "--model");
  require_one(table, kCorpus, "corpus", "--corpus");
  require_one(table, kProtocol, "protocol", "--protocol");
  const bool name_dtype = distinct(table, kDtype).size() > 1;
  const Row& first = table.rows.front();
  return write_chart({.title = text_of(first, kModel) + ", " + text_of(first, kCorpus) + ", " + text_of(first, kProtocol),
                      .x_title = "KV cache, values per token and layer",
                      .y_title = "Perplexity",
                      .series = series_of(table, name_dtype),
                      .levels = originals_of(table, name_dtype)},
                     name);
}

}  // namespace

const NamedFigure ppl_vs_cache_figure{"ppl_vs_cache", "ppl_vs_cache", make};

}  // namespace mla
