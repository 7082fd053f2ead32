// Grouped bars with error bars, as gnuplot reads them.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "plots/figure_table.h"
#include "plots/series_style.h"

namespace mla {

struct Bar {
  double value = 0, error = 0;  // error 0: no bar
};

struct BarSeries {
  std::string name;
  SeriesStyle style;
  std::vector<std::optional<Bar>> bars;  // one per group
};

struct BarChart {
  std::string title, y_title;
  std::vector<std::string> groups;
  std::vector<BarSeries> series;
  std::vector<std::string> caption;
};

// Fills differ in pattern as well as colour. y begins at 0. Texts come from a database: none of them can be more than text in the script.
FigureText write_bar_chart(const BarChart& chart, const std::string& name);

}  // namespace mla
