// Perplexity against cache size: every run a labelled point, the best of each method and cache size joined by a line.
#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <vector>

#include "core/base/error.h"
#include "core/base/names.h"
#include "plots/figure_table.h"
#include "plots/gnuplot.h"

namespace mla {
namespace {

struct Point {
  std::string label;
  int64_t kv_values = 0;
  double perplexity = 0, std_error = 0;
};

struct Series {
  std::string method;
  std::vector<Point> points, best;
};

// Columns of the query ppl_vs_cache.
enum Column : std::size_t { kMethod, kLabel, kKvValues, kPerplexity, kModel, kCorpus, kProtocol, kDtype, kOriginal, kOriginalKv, kError };

const std::string& text_of(const std::vector<Cell>& row, Column column) { return std::get<std::string>(row.at(column)); }
double number_of(const std::vector<Cell>& row, Column column) {
  const auto* number = std::get_if<double>(&row.at(column));
  return number != nullptr ? *number : 0;
}

// Two protocols, corpora or models in one figure would compare what cannot be compared.
void require_one(const Table& rows, Column column, const char* what, const char* flag) {
  std::set<std::string> values;
  for (const auto& row : rows.rows) values.insert(text_of(row, column));
  if (values.size() > 1)
    fail<ConfigError>("plot", "wanted rows of one ", what, ", got ", join({values.begin(), values.end()}), "; choose one with ", flag);
}

std::vector<Series> series_of(const Table& rows) {
  std::map<std::string, std::vector<Point>> by_method;
  for (const auto& row : rows.rows)
    by_method[text_of(row, kMethod)].push_back({text_of(row, kLabel), std::get<int64_t>(row.at(kKvValues)), number_of(row, kPerplexity), number_of(row, kError)});
  std::vector<Series> all;
  for (auto& [method, points] : by_method) {
    Series series{method, std::move(points), {}};
    for (const Point& point : series.points)  // ordered by cache, then perplexity: the first of a size is its best
      if (series.best.empty() || series.best.back().kv_values != point.kv_values) series.best.push_back(point);
    all.push_back(std::move(series));
  }
  return all;
}

std::string data_of(const std::vector<Series>& all) {
  std::string text = "# kv_values perplexity std_error label; two blocks per method: all runs, the best of each cache size\n";
  const auto add = [&](const std::vector<Point>& points) {
    for (const Point& point : points) {
      char line[96];
      std::snprintf(line, sizeof line, "%lld %.10g %.6g \"", static_cast<long long>(point.kv_values), point.perplexity, point.std_error);
      std::string label = point.label;
      for (char& c : label)
        if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) c = ' ';
      text += line + label + "\"\n";
    }
    text += "\n\n";
  };
  for (const Series& series : all) {
    add(series.points);
    add(series.best);
  }
  return text;
}

struct Range {
  double low, high;
};

// Room for the labels, which stand to the right of their points.
std::string x_range(const std::vector<Series>& all) {
  double low = 1e300, high = 0;
  for (const Series& series : all)
    for (const Point& point : series.points) {
      low = std::min(low, static_cast<double>(point.kv_values));
      high = std::max(high, static_cast<double>(point.kv_values));
    }
  const double span = std::max(high - low, 0.2 * high);
  char line[96];
  std::snprintf(line, sizeof line, "set xrange [%.6g:%.6g]\n", low - 0.06 * span, high + 0.24 * span);
  return line;
}

Range range_of(const std::vector<Series>& all, double original) {
  Range range{original > 0 ? original : 1e300, original};
  for (const Series& series : all)
    for (const Point& point : series.points) {
      range.low = std::min(range.low, point.perplexity);
      range.high = std::max(range.high, point.perplexity);
    }
  return range;
}

std::string plot_lines(const std::vector<Series>& all, const std::string& data, double original) {
  static const std::vector<const char*> colors{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"};
  std::string text = "plot \\\n";
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string color = std::string(" lc rgb '") + colors[i % colors.size()] + "'", file = gnuplot_quoted(data);
    const std::string all_block = std::to_string(2 * i), best_block = std::to_string(2 * i + 1), mark = std::to_string(std::vector<int>{7, 5, 9, 11, 13}[i % 5]);
    text += "  " + file + " index " + best_block + " using 1:2 with lines lw 1.5" + color + " notitle, \\\n";
    text += "  " + file + " index " + all_block + " using 1:2 with points pt " + mark + " ps 1.3" + color + " title " + gnuplot_quoted(all[i].method) + ", \\\n";
    text += "  " + file + " index " + all_block + " using 1:2:4 with labels left offset 0.9,0.5 font ',10' noenhanced textcolor rgb '#444444' notitle, \\\n";
  }
  char line[160];
  std::snprintf(line, sizeof line, "  %.10g with lines dt 2 lw 1.5 lc rgb '#666666' title 'original (%.2f)'\n", original, original);
  return text + line;
}

FigureText make(const Table& rows, const std::string& name) {
  if (rows.rows.empty()) fail<ConfigError>("plot", "nothing to draw: no finished run with these corpus, protocol and model; `mlaforge runs` lists all");
  require_one(rows, kModel, "model", "--model");
  require_one(rows, kCorpus, "corpus", "--corpus");
  require_one(rows, kProtocol, "protocol", "--protocol");
  const std::vector<Series> all = series_of(rows);
  const auto& first = rows.rows.front();
  const double original = number_of(first, kOriginal);
  const Range range = range_of(all, original);
  const bool log_scale = range.high > 10 * range.low;

  std::string script = "# Perplexity against cache size. Draw again with: gnuplot " + name + ".gp\n";
  script += "set encoding utf8\nset title " + gnuplot_quoted(text_of(first, kModel) + ", " + text_of(first, kCorpus) + ", " + text_of(first, kProtocol)) + " noenhanced font ',14'\n";
  script += "set xlabel 'KV cache, values per token and layer'\nset ylabel 'Perplexity" + std::string(log_scale ? " (log scale)" : "") + "'\n";
  script += "set grid lc rgb '#dddddd' lt 1\nset border 3 lc rgb '#444444'\nset tics nomirror\nset key above horizontal noenhanced\n";
  script += "set offsets 0, 0, graph 0.08, graph 0.05\n" + x_range(all);
  if (log_scale) script += "set logscale y\n";
  for (const char* terminal : {"pngcairo size 1200,750 font 'DejaVu Sans,13'", "svg size 960,600 font 'DejaVu Sans,13' dynamic"}) {
    const std::string extension = std::string(terminal).substr(0, 3);
    script += "set terminal " + std::string(terminal) + "\nset output " + gnuplot_quoted(name + "." + extension) + '\n';
    script += plot_lines(all, name + ".dat", original);
  }
  return {data_of(all), script};
}

}  // namespace

const NamedFigure ppl_vs_cache_figure{"ppl_vs_cache", "ppl_vs_cache", make};

}  // namespace mla
