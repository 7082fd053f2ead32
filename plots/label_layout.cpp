#include "plots/label_layout.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace mla {
namespace {

constexpr double kCharacter = 7.0, kHalfHeight = 7.0;  // of a 10 point label
constexpr double kNearX = 14.0, kNearY = 8.0;          // a label so near to a mark is read as that mark's
constexpr double kLineStep = 6.0;                      // lines are obstacles at points so far apart
constexpr double kCrowdX = 60.0, kCrowdY = 30.0;        // marks so near to each other have their labels in their own order
constexpr double kOverLine = 1, kWrongSide = 6, kOverMark = 10, kOverLabel = 100;

struct Box {
  double left, bottom, right, top;
  bool overlaps(const Box& other) const {
    return left < other.right && other.left < right && bottom < other.top && other.bottom < top;
  }
  bool holds(Pixel p) const { return left < p.x && p.x < right && bottom < p.y && p.y < top; }
};

// Continuation bytes of UTF-8 take no room.
double width_of(const std::string& text) {
  const auto starts = std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  return kCharacter * static_cast<double>(starts);
}

Box box_of(Pixel start, double width) { return {start.x, start.y - kHalfHeight, start.x + width, start.y + kHalfHeight}; }

// Places for a label of that width, the best first: right, left, above, below, then further off.
std::vector<Pixel> candidates(Pixel point, double width) {
  constexpr double gap = 10, row = 14;
  const double right = point.x + gap, left = point.x - gap - width, middle = point.x - width / 2;
  std::vector<Pixel> places;
  for (const double up : {0.0, row, -row}) {
    places.push_back({right, point.y + up});
    places.push_back({left, point.y + up});
    if (up != 0) places.push_back({middle, point.y + 1.1 * up});
  }
  for (const double up : {2 * row, -2 * row})
    for (const double x : {right, middle, left}) places.push_back({x, point.y + up});
  return places;
}

std::vector<Pixel> sampled(const std::vector<std::vector<Pixel>>& lines) {
  std::vector<Pixel> samples;
  for (const auto& line : lines)
    for (std::size_t i = 1; i < line.size(); ++i) {
      const double dx = line[i].x - line[i - 1].x, dy = line[i].y - line[i - 1].y;
      const int steps = 1 + static_cast<int>(std::hypot(dx, dy) / kLineStep);
      for (int s = 0; s <= steps; ++s) samples.push_back({line[i - 1].x + dx * s / steps, line[i - 1].y + dy * s / steps});
    }
  return samples;
}

struct Obstacles {
  std::vector<Pixel> line_samples;
  std::vector<Box> marks, labels;

  double cost(const Box& box, std::size_t own_mark) const {
    const auto over = [&](const Box& other) { return &other != &marks[own_mark] && box.overlaps(other); };
    const auto lines = std::count_if(line_samples.begin(), line_samples.end(), [&](Pixel p) { return box.holds(p); });
    return kOverLine * static_cast<double>(std::min<std::ptrdiff_t>(lines, 5)) +
           kOverMark * static_cast<double>(std::count_if(marks.begin(), marks.end(), over)) +
           kOverLabel * static_cast<double>(std::count_if(labels.begin(), labels.end(), over));
  }
};

// What a label above its mark costs where a near mark lies higher, and one below where a near mark lies lower.
double wrong_side_cost(const std::vector<LabelledPixel>& points, std::size_t own, Pixel place) {
  const Pixel at = points[own].at;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double dx = points[i].at.x - at.x, dy = points[i].at.y - at.y;
    if (i != own && std::abs(dx) < kCrowdX && std::abs(dy) < kCrowdY && dy * (place.y - at.y) > 0) return kWrongSide;
  }
  return 0;
}

}  // namespace

std::vector<std::optional<Pixel>> place_labels(const std::vector<LabelledPixel>& points,
                                               const std::vector<std::vector<Pixel>>& lines, LabelArea area) {
  Obstacles taken{sampled(lines), {}, {}};
  for (const LabelledPixel& p : points) taken.marks.push_back({p.at.x - kNearX, p.at.y - kNearY, p.at.x + kNearX, p.at.y + kNearY});
  std::vector<std::optional<Pixel>> places;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double width = width_of(points[i].text);
    std::optional<Pixel> best;
    double least = kOverMark;  // a label over another mark or label says less than none
    for (const Pixel& place : candidates(points[i].at, width)) {
      const Box box = box_of(place, width);
      if (box.left < 0 || box.bottom < 0 || box.right > area.width || box.top > area.height) continue;
      if (const double cost = taken.cost(box, i) + wrong_side_cost(points, i, place); cost < least) {
        least = cost;
        best = place;
      }
    }
    if (best) taken.labels.push_back(box_of(*best, width));
    places.push_back(best);
  }
  return places;
}

}  // namespace mla
