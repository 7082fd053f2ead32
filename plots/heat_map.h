// Numbers over two axes as coloured cells, several grids beside each other, as gnuplot reads them.
#pragma once
#include <string>
#include <vector>

#include "plots/figure_table.h"

namespace mla {

struct HeatCell {
  std::size_t x = 0, y = 0;  // indices into the axes' labels
  double value = 0;          // 0 to 1
};

struct HeatPanel {
  std::string title;
  std::vector<HeatCell> cells;  // what is missing stays blank
};

struct HeatMap {
  std::string title, x_title, y_title, value_title;
  std::vector<std::string> x_labels, y_labels;  // y from the top down
  std::vector<HeatPanel> panels;
  std::vector<std::string> caption = {};
};

// Every cell has its number too, and darker is always less: it reads in black and white. Texts come from a database: none of them can be
// more than text in the script.
FigureText write_heat_map(const HeatMap& map, const std::string& name);

}  // namespace mla
