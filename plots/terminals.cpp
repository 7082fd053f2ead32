#include "plots/terminals.h"

#include <algorithm>

#include "plots/format.h"
#include "plots/gnuplot.h"

namespace mla {
namespace {

constexpr double kPixelsPerInch = 100, kCaptionCharacter = 6.6;  // pixels of a 10 point character

}  // namespace

std::string on_every_terminal(const std::string& name, const std::string& settings, const std::string& body, DrawingSize size) {
  std::string script = "# Draw again with: gnuplot " + name + ".gp\n" + settings;
  const auto add = [&](const std::string& terminal, const char* ending) {
    script += "set terminal " + terminal + "\nset output " + gnuplot_quoted(name + ending) + '\n' + body;
  };
  add(format("pngcairo size %d,%d font 'DejaVu Sans,%d'", size.width, size.height, size.font), ".png");
  add(format("svg size %d,%d font 'DejaVu Sans,%d' fontscale 1.3 dynamic", size.width, size.height, size.font), ".svg");
  add(format("pdfcairo size %gin,%gin font 'DejaVu Sans,%d' fontscale 0.75 linewidth 1.5", size.width / kPixelsPerInch, size.height / kPixelsPerInch, size.font), ".pdf");
  return script + "set output\n";
}

std::string caption_labels(const std::vector<std::string>& parts, DrawingSize size) {
  const auto most = static_cast<std::size_t>(size.width / kCaptionCharacter);
  std::vector<std::string> lines(1);
  for (const std::string& part : parts) {
    if (part.empty()) continue;
    if (!lines.back().empty() && lines.back().size() + part.size() > most && lines.size() < 2) lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : ". ") + part;
  }
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i)
    text += "set label " + gnuplot_quoted(lines[i]) + format(" at screen 0.01, screen %g left font ',10' noenhanced textcolor rgb '#444444'\n",
                                                             0.015 + kCaptionLine * static_cast<double>(lines.size() - 1 - i));
  return text;
}

}  // namespace mla
