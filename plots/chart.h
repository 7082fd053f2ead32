// A line chart as gnuplot reads it: a data file and a script that draws PNG and SVG.
#pragma once
#include <string>
#include <vector>

#include "plots/figure_table.h"

namespace mla {

struct ChartPoint {
  double x = 0, y = 0;
  double y_error = 0;  // in the data file only
  std::string label;   // drawn beside the point where there is room
};

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;  // by x, then y: the lowest of each x is joined by the line
};

// A dashed line across the chart.
struct ChartLevel {
  std::string name;
  double y = 0;
};

struct Chart {
  std::string title, x_title, y_title;
  std::vector<ChartSeries> series;  // with at least one point
  std::vector<ChartLevel> levels;
};

// Texts come from a database: none of them can be more than text in the script. y is logarithmic when its largest value
// is above ten times its smallest.
FigureText write_chart(const Chart& chart, const std::string& name);

}  // namespace mla
