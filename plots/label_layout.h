// Where the names of points go, so that they cover neither each other nor what is drawn.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace mla {

// Pixels of the plot area, from its lower left corner.
struct Pixel {
  double x = 0, y = 0;
};

struct LabelledPixel {
  Pixel at;
  std::string text;
};

struct LabelArea {
  double width = 0, height = 0;
};

// The left middle of each point's label, in the order of the points; nothing for a label that fits nowhere.
// `lines` are the polylines drawn through the area: labels cross them only when there is no other room.
std::vector<std::optional<Pixel>> place_labels(const std::vector<LabelledPixel>& points,
                                               const std::vector<std::vector<Pixel>>& lines, LabelArea area);

}  // namespace mla
