#include "plots/chart.h"

#include <algorithm>
#include <set>

#include "plots/axis.h"
#include "plots/format.h"
#include "plots/gnuplot.h"
#include "plots/label_layout.h"
#include "plots/terminals.h"

namespace mla {
namespace {

// The plot area is fixed, so that labels can be placed before gnuplot runs; the legend stands to its right.
constexpr LabelArea kArea{850, 600};
constexpr double kLeft = 105, kBottom = 128, kHeight = 780, kLegend = 240, kLegendSample = 85, kLegendCharacter = 10;  // pixels

// A label as a column of the data file.
std::string data_quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return quoted + '"';
}

// Blocks of a data file, numbered as `index` counts them.
struct DataFile {
  std::string text;
  int blocks = 0;
  int add(const std::string& comment, const std::string& lines) {
    text += "# " + comment + '\n' + lines + "\n\n";
    return blocks++;
  }
};

std::vector<ChartPoint> lowest_of_each_x(const std::vector<ChartPoint>& points) {
  std::vector<ChartPoint> lowest;
  for (const ChartPoint& point : points)
    if (lowest.empty() || lowest.back().x != point.x) lowest.push_back(point);
  return lowest;
}

std::string point_lines(const std::vector<ChartPoint>& points) {
  std::string lines;
  for (const ChartPoint& p : points) lines += format("%.10g %.10g %.6g ", p.x, p.y, p.y_error) + data_quoted(p.label) + '\n';
  return lines;
}

// The corners of the front as it is drawn: along to the next point's x, then to its y.
std::vector<ChartPoint> corners_of(const std::vector<ChartPoint>& front) {
  std::vector<ChartPoint> corners;
  for (const ChartPoint& point : front) {
    if (!corners.empty()) corners.push_back({point.x, corners.back().y, 0, ""});
    corners.push_back(point);
  }
  return corners;
}

// As wide as the legend's longest name needs.
DrawingSize size_of(const Chart& chart) {
  std::size_t longest = 0;
  for (const ChartSeries& series : chart.series) longest = std::max(longest, series.name.size());
  for (const ChartLevel& level : chart.levels) longest = std::max(longest, level.name.size());
  const double legend = std::max(kLegend, kLegendSample + kLegendCharacter * static_cast<double>(std::min<std::size_t>(longest, 100)));
  return {static_cast<int>(kLeft + kArea.width + legend), static_cast<int>(kHeight), 13};
}

class Drawing {
 public:
  explicit Drawing(const Chart& chart) : chart_(chart), size_(size_of(chart)), x_(x_axis(values(&ChartPoint::x), chart.x_logarithmic)), y_(y_axis(values(&ChartPoint::y), !chart.y_linear)) {}

  std::string axes() const;
  std::string curves(const std::string& data_name);
  const DataFile& data() const { return data_; }
  DrawingSize size() const { return size_; }

 private:
  std::vector<double> values(double ChartPoint::* member) const;
  Pixel pixel_of(double x, double y) const { return {x_.share_of(x) * kArea.width, y_.share_of(y) * kArea.height}; }
  std::vector<std::string> label_lines() const;  // per series, ready for the data file
  std::string point_tics() const;                // every x that has a point

  const Chart& chart_;
  DrawingSize size_;
  Axis x_, y_;
  DataFile data_;
};

// All coordinates of one axis; levels are heights, and bars reach up and down.
std::vector<double> Drawing::values(double ChartPoint::* member) const {
  std::vector<double> all;
  for (const ChartSeries& series : chart_.series)
    for (const ChartPoint& point : series.points) all.push_back(point.*member);
  if (member != &ChartPoint::y) return all;
  for (const ChartLevel& level : chart_.levels) all.push_back(level.y);
  for (const ChartSeries& series : chart_.series)
    for (const ChartPoint& point : series.points)
      if (point.y_error > 0 && point.y_error < point.y) all.insert(all.end(), {point.y - point.y_error, point.y + point.y_error});
  return all;
}

std::vector<std::string> Drawing::label_lines() const {
  std::vector<LabelledPixel> points;
  std::vector<std::vector<Pixel>> lines;
  for (const ChartSeries& series : chart_.series) {
    for (const ChartPoint& p : series.points) points.push_back({pixel_of(p.x, p.y), p.label});
    lines.emplace_back();
    for (const ChartPoint& p : lowest_of_each_x(series.points)) lines.back().push_back(pixel_of(p.x, p.y));
  }
  lines.emplace_back();
  for (const ChartPoint& p : corners_of(chart_.front)) lines.back().push_back(pixel_of(p.x, p.y));
  for (const ChartLevel& level : chart_.levels) lines.push_back({pixel_of(x_.low, level.y), pixel_of(x_.high, level.y)});
  const std::vector<std::optional<Pixel>> places = place_labels(points, lines, kArea);
  std::vector<std::string> texts;
  std::size_t next = 0;
  for (const ChartSeries& series : chart_.series) {
    texts.emplace_back();
    for (std::size_t i = 0; i < series.points.size(); ++i, ++next)
      if (places[next])
        texts.back() += format("%.10g %.10g ", x_.value_at(places[next]->x / kArea.width), y_.value_at(places[next]->y / kArea.height)) +
                        data_quoted(points[next].text) + '\n';
  }
  return texts;
}

std::string Drawing::point_tics() const {
  std::string tics;
  const std::vector<double> all = values(&ChartPoint::x);
  for (const double x : std::set<double>(all.begin(), all.end())) tics += (tics.empty() ? "" : ", ") + format("%.10g", x);
  return tics;
}

std::string Drawing::axes() const {
  std::string text = "set encoding utf8\nset title " + gnuplot_quoted(chart_.title) + " noenhanced font ',15'\n";
  text += "set xlabel " + gnuplot_quoted(chart_.x_title) + " noenhanced\n";
  text += "set ylabel " + gnuplot_quoted(chart_.y_title + (y_.logarithmic ? " (log scale)" : "")) + " noenhanced\n";
  const double right = (kLeft + kArea.width) / size_.width, top = (kBottom + kArea.height) / size_.height;
  text += format("set lmargin at screen %g\nset rmargin at screen %g\nset bmargin at screen %g\nset tmargin at screen %g\n", kLeft / size_.width, right, kBottom / size_.height, top);
  text += format("set key at screen %g, screen %g left top Left reverse noenhanced samplen 3 spacing 1.3\n", right + 0.01, top);
  text += "set grid lc rgb '#e4e4e4' lt 1\nset border 3 lc rgb '#444444'\nset tics nomirror\n";
  text += format("set xrange [%.10g:%.10g]\nset yrange [%.10g:%.10g]\n", x_.low, x_.high, y_.low, y_.high);
  if (y_.logarithmic) text += "set logscale y\nset format y '%.6g'\nset ytics (" + log_tics(y_) + ")\n";
  if (x_.logarithmic) text += "set logscale x\nset xtics (" + point_tics() + ")\n";
  return text + caption_labels(chart_.caption, size_);
}

std::string Drawing::curves(const std::string& data_name) {
  const std::string file = gnuplot_quoted(data_name);
  const std::vector<std::string> labels = label_lines();
  std::vector<std::string> parts;
  const auto part = [&](int block, const std::string& how) { parts.push_back(file + format(" index %d using ", block) + how); };
  if (!chart_.front.empty()) part(data_.add("front", point_lines(chart_.front)), "1:2 with steps dt 3 lw 2.5 lc rgb '#333333' title 'Pareto front'");
  for (std::size_t i = 0; i < chart_.series.size(); ++i) {
    const ChartSeries& series = chart_.series[i];
    const std::string color = "rgb '" + series.style.color + "'", number = std::to_string(i + 1);
    part(data_.add("lowest of each x, series " + number, point_lines(lowest_of_each_x(series.points))),
         format("1:2 with lines lw 2 dt %d lc ", series.style.dash) + color + " notitle");
    const int points = data_.add("x y std_error label, series " + number, point_lines(series.points));
    if (std::any_of(series.points.begin(), series.points.end(), [](const ChartPoint& p) { return p.y_error > 0; }))
      part(points, "1:2:3 with yerrorbars pt 0 lw 1 lc " + color + " notitle");
    part(points, format("1:2 with points pt %d ps 1.4 lw 2 lc ", series.style.mark) + color + " notitle");
    parts.push_back(format("NaN with linespoints dt %d pt %d ps 1.4 lw 2 lc ", series.style.dash, series.style.mark) + color + " title " + gnuplot_quoted(series.name));  // legend
    if (labels[i].empty()) continue;
    part(data_.add("places of labels, series " + number, labels[i]), "1:2:3 with labels left font ',10' noenhanced textcolor " + color + " notitle");
  }
  for (const ChartLevel& level : chart_.levels)
    parts.push_back(format("%.10g with lines dt 2 lw 2 lc rgb '#555555' title ", level.y) + gnuplot_quoted(level.name));
  std::string text = "plot ";
  for (std::size_t i = 0; i < parts.size(); ++i) text += (i > 0 ? ", \\\n     " : "") + parts[i];
  return text + '\n';
}

}  // namespace

std::vector<ChartPoint> front_of(const std::vector<ChartSeries>& series) {
  std::vector<ChartPoint> all;
  for (const ChartSeries& one : series) all.insert(all.end(), one.points.begin(), one.points.end());
  std::stable_sort(all.begin(), all.end(), [](const ChartPoint& a, const ChartPoint& b) { return a.x != b.x ? a.x < b.x : a.y < b.y; });
  std::vector<ChartPoint> front;
  for (const ChartPoint& point : all)
    if (front.empty() || point.y < front.back().y) front.push_back({point.x, point.y, 0, ""});
  return front;
}

FigureText write_chart(const Chart& chart, const std::string& name) {
  Drawing drawing(chart);
  const std::string curves = drawing.curves(name + ".dat");
  return {drawing.data().text, on_every_terminal(name, drawing.axes(), curves, drawing.size())};
}

}  // namespace mla
