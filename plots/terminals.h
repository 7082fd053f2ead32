// The same drawing as PNG, SVG and PDF.
#pragma once
#include <string>
#include <vector>

namespace mla {

struct DrawingSize {
  int width = 1200, height = 750, font = 13;  // pixels; points
};

// `body` once for each terminal, behind `settings`; writes <name>.png, <name>.svg and <name>.pdf.
std::string on_every_terminal(const std::string& name, const std::string& settings, const std::string& body, DrawingSize size);

// Small lines at the foot of the figure: what it shows of what, by which program. Long ones are wrapped.
std::string caption_labels(const std::vector<std::string>& parts, DrawingSize size);
constexpr double kCaptionLine = 0.028;  // of the height; at most two lines

}  // namespace mla
