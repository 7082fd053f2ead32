#include "plots/bar_chart.h"

#include <algorithm>

#include "plots/format.h"
#include "plots/gnuplot.h"
#include "plots/terminals.h"

namespace mla {
namespace {

constexpr double kGroupWidth = 0.84, kRight = 0.77, kLeft = 0.075, kBottom = 0.17, kBottomRotated = 0.3, kTop = 0.92;
constexpr std::size_t kGroupsLevel = 4;  // names of more groups are turned
constexpr int kPatterns[] = {3, 1, 4, 2, 5, 6, 7, 0};  // solid first

// One block per series: middle of the bar, value, error.
std::string data_of(const BarChart& chart, double width) {
  std::string text;
  for (std::size_t s = 0; s < chart.series.size(); ++s) {
    text += format("# series %zu: x value std_error\n", s + 1);
    for (std::size_t g = 0; g < chart.groups.size(); ++g)
      if (const auto& bar = chart.series[s].bars.at(g))
        text += format("%.6g %.10g %.6g\n", static_cast<double>(g) - kGroupWidth / 2 + width * (static_cast<double>(s) + 0.5), bar->value, bar->error);
    text += "\n\n";
  }
  return text;
}

std::string settings_of(const BarChart& chart, double width, DrawingSize size) {
  std::string tics;
  for (std::size_t g = 0; g < chart.groups.size(); ++g) tics += (g > 0 ? ", " : "") + gnuplot_quoted(chart.groups[g]) + ' ' + std::to_string(g);
  std::string text = "set encoding utf8\nset title " + gnuplot_quoted(chart.title) + " noenhanced font ',15'\nset ylabel " + gnuplot_quoted(chart.y_title) + " noenhanced\n";
  const bool turned = chart.groups.size() > kGroupsLevel;
  text += format("set lmargin at screen %g\nset rmargin at screen %g\nset bmargin at screen %g\nset tmargin at screen %g\n", kLeft, kRight, turned ? kBottomRotated : kBottom, kTop);
  text += format("set key at screen %g, screen %g left top Left reverse noenhanced samplen 2 spacing 1.4\n", kRight + 0.01, kTop);
  text += "set grid ytics lc rgb '#e4e4e4' lt 1\nset border 3 lc rgb '#444444'\nset tics nomirror\n";
  text += format("set boxwidth %.6g absolute\nset xrange [-0.6:%g]\nset yrange [0:*]\n", 0.92 * width, static_cast<double>(chart.groups.size()) - 0.4);
  text += std::string("set xtics (") + tics + ") noenhanced scale 0" + (turned ? " rotate by -30\n" : "\n");
  return text + caption_labels(chart.caption, size);
}

}  // namespace

FigureText write_bar_chart(const BarChart& chart, const std::string& name) {
  const double width = kGroupWidth / static_cast<double>(std::max<std::size_t>(chart.series.size(), 1));
  const DrawingSize size{static_cast<int>(std::clamp<std::size_t>(500 + 40 * chart.groups.size() * chart.series.size(), 1200, 2400)), 780, 13};
  const std::string file = gnuplot_quoted(name + ".dat");
  std::string bars, errors;
  for (std::size_t s = 0; s < chart.series.size(); ++s) {
    const BarSeries& series = chart.series[s];
    const std::string block = file + format(" index %zu using ", s);
    bars += (s > 0 ? ", \\\n     " : "") + block + "1:2 with boxes lc rgb '" + series.style.color + format("' fs pattern %d border title ", kPatterns[s % std::size(kPatterns)]) + gnuplot_quoted(series.name);
    if (std::any_of(series.bars.begin(), series.bars.end(), [](const auto& bar) { return bar && bar->error > 0; }))
      errors += ", \\\n     " + block + "1:($2-$3):(0):(2*$3) with vectors nohead lw 1.5 lc rgb '#000000' notitle";  // error bars would leave a gap for a mark
  }
  return {data_of(chart, width), on_every_terminal(name, settings_of(chart, width, size), "plot " + bars + errors + "\n", size)};
}

}  // namespace mla
