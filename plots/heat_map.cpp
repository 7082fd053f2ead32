#include "plots/heat_map.h"

#include <algorithm>

#include "plots/format.h"
#include "plots/gnuplot.h"
#include "plots/terminals.h"

namespace mla {
namespace {

constexpr std::size_t kPanelsPerRow = 2;
constexpr int kAround = 150, kCellWidth = 78, kCellHeight = 52, kLeastWidth = 480, kLeastHeight = 300, kMostCells = 14;  // pixels of a panel
constexpr int kTitlePixels = 8, kHeadPixels = 10;                                    // of a character
constexpr double kDarkBelow = 0.6;  // white numbers on cells below, black above

// Viridis at five points: its lightness rises evenly, for eyes that see no colour and for printers that have none.
constexpr const char* kPalette = "set palette defined (0 '#440154', 0.25 '#3b528b', 0.5 '#21918c', 0.75 '#5ec962', 1 '#fde725')\n";

// One block per panel: column, row, value, the number as text, colour of the text.
std::string data_of(const HeatMap& map) {
  std::string text;
  for (std::size_t p = 0; p < map.panels.size(); ++p) {
    text += format("# panel %zu: x y value number colour\n", p + 1);
    for (const HeatCell& cell : map.panels[p].cells)
      text += format("%zu %zu %.10g \"%.2f\" %d\n", cell.x, cell.y, cell.value, cell.value, cell.value < kDarkBelow ? 0xFFFFFF : 0x000000);
    text += "\n\n";
  }
  return text;
}

// The label of a tic is a format: a per cent sign is spelled twice.
std::string tic_label(const std::string& text) {
  std::string spelled;
  for (const char c : text) spelled += c == '%' ? std::string("%%") : std::string(1, c);
  return gnuplot_quoted(spelled);
}

std::string tics(const std::vector<std::string>& labels) {
  std::string text = "(";
  for (std::size_t i = 0; i < labels.size(); ++i) text += (i > 0 ? ", " : "") + tic_label(labels[i]) + ' ' + std::to_string(i);
  return text + ')';
}

DrawingSize size_of(const HeatMap& map) {
  const int columns = static_cast<int>(std::min(kPanelsPerRow, map.panels.size()));
  const int rows = static_cast<int>((map.panels.size() + kPanelsPerRow - 1) / kPanelsPerRow);
  const int across = std::min(kMostCells, static_cast<int>(map.x_labels.size())), down = std::min(kMostCells, static_cast<int>(map.y_labels.size()));
  std::size_t longest = 0;  // bytes are enough: too wide a figure is no harm
  for (const HeatPanel& panel : map.panels) longest = std::max(longest, panel.title.size());
  const int panel_width = std::max({kLeastWidth, kAround + 60 + across * kCellWidth, 60 + kTitlePixels * static_cast<int>(std::min<std::size_t>(longest, 200))});
  const int title_width = 60 + kHeadPixels * static_cast<int>(std::min<std::size_t>(map.title.size(), 200));
  return {std::max(columns * panel_width, title_width), 80 + rows * std::max(kLeastHeight, kAround + down * kCellHeight), 12};
}

std::string settings_of(const HeatMap& map) {
  std::string text = "set encoding utf8\nunset key\nset bmargin 6\nset tics nomirror scale 0\nset border lc rgb '#444444'\n";
  text += "set xlabel " + gnuplot_quoted(map.x_title) + " noenhanced\nset ylabel " + gnuplot_quoted(map.y_title) + " noenhanced\n";
  text += "set cblabel " + gnuplot_quoted(map.value_title) + " noenhanced\nset cbrange [0:1]\n";
  text += kPalette;
  text += "set xtics " + tics(map.x_labels) + " noenhanced\nset ytics " + tics(map.y_labels) + " noenhanced\n";
  text += format("set xrange [-0.5:%g]\nset yrange [%g:-0.5]\n", static_cast<double>(map.x_labels.size()) - 0.5, static_cast<double>(map.y_labels.size()) - 0.5);
  return text;
}

std::string panels_of(const HeatMap& map, const std::string& data_name, DrawingSize size) {
  const std::size_t columns = std::min(kPanelsPerRow, map.panels.size()), rows = (map.panels.size() + kPanelsPerRow - 1) / kPanelsPerRow;
  const bool crowded = map.x_labels.size() > static_cast<std::size_t>(kMostCells) || map.y_labels.size() > static_cast<std::size_t>(kMostCells);
  std::string text = format("set multiplot layout %zu,%zu title ", rows, columns) + gnuplot_quoted(map.title) + " noenhanced font ',15'\n";
  text += caption_labels(map.caption, size);  // once, with the first panel
  for (std::size_t p = 0; p < map.panels.size(); ++p) {
    if (p == 1) text += "unset label\n";
    text += "set title " + gnuplot_quoted(map.panels[p].title) + " noenhanced\n";
    const std::string block = gnuplot_quoted(data_name) + format(" index %zu using ", p);
    text += "plot " + block + "1:2:(0.49):(0.49):3 with boxxyerror fillstyle solid 1 noborder linecolor palette, \\\n     " + block +
            format("1:2:4:5 with labels font ',%d' noenhanced textcolor rgb variable\n", crowded ? 7 : 12);
  }
  return text + "unset multiplot\n";
}

}  // namespace

FigureText write_heat_map(const HeatMap& map, const std::string& name) {
  const DrawingSize size = size_of(map);
  return {data_of(map), on_every_terminal(name, settings_of(map), panels_of(map, name + ".dat", size), size)};
}

}  // namespace mla
