// A line chart as gnuplot reads it: a data file and a script that draws PNG, SVG and PDF.
#pragma once
#include <string>
#include <vector>

#include "plots/figure_table.h"
#include "plots/series_style.h"

namespace mla {

struct ChartPoint {
  double x = 0, y = 0;
  double y_error = 0;  // a bar up and down; 0: none
  std::string label;   // drawn beside the point where there is room
};

struct ChartSeries {
  std::string name;
  SeriesStyle style;
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
  std::vector<ChartPoint> front;    // a dashed staircase from its first point to its last: what no smaller x beats
  std::vector<std::string> caption; // what is shown of what, by which program
  bool x_logarithmic = false;       // marked at the values of the points
  bool y_linear = false;            // whatever its values span
};

// The points of all series that no point of smaller or equal x undercuts, by x.
std::vector<ChartPoint> front_of(const std::vector<ChartSeries>& series);

// Texts come from a database: none of them can be more than text in the script. y is logarithmic when its largest value
// is above ten times its smallest, unless it is to be linear.
FigureText write_chart(const Chart& chart, const std::string& name);

}  // namespace mla
