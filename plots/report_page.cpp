// What all pages of the report share.
#include <algorithm>
#include <cmath>
#include <iterator>

#include "core/base/sha256.h"
#include "plots/base64.h"
#include "plots/format.h"
#include "plots/report_parts.h"
#include "results/table_markup.h"

namespace mla {
namespace {

std::string bytes_of_hex(const std::string& hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) bytes += static_cast<char>(16 * digit(hex[i]) + digit(hex[i + 1]));
  return bytes;
}

constexpr double kWidth = 640, kHeight = 180, kLeft = 60, kRight = 20, kBottom = 24, kTop = 10;
constexpr const char* kStrokes[] = {"solid", "dashed", "dotted"};  // line0 to line2 of the style

}  // namespace

std::string html_lines(const std::string& text) {
  std::string html;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    html += (begin > 0 ? "\n" : "") + html_escaped(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return html;
}

std::string report_page(const std::string& title, const std::string& body, const std::string& script) {
  const std::string allowed = script.empty() ? "'none'" : "'sha256-" + base64(bytes_of_hex(sha256_hex(script))) + "'";
  return std::string(kReportMark) + "<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src " + allowed + "\">\n" +
         "<link rel=\"icon\" href=\"data:,\">\n<title>" + html_escaped(title) + "</title>\n<style>\n" + report_css() + "</style>\n</head>\n<body>\n" + body +
         (script.empty() ? "" : "<script>" + script + "</script>\n") + "</body>\n</html>\n";
}

std::string spark_chart(const std::string& title, const std::vector<SparkLine>& lines) {
  double low_x = 1e300, high_x = -1e300, low = 1e300, high = -1e300;
  for (const SparkLine& line : lines)
    for (const auto& [x, y] : line.points) low_x = std::min(low_x, x), high_x = std::max(high_x, x), low = std::min(low, y), high = std::max(high, y);
  if (low > high) return "";
  const double span = std::max(high - low, 1e-9 + 0.02 * std::abs(high)), span_x = std::max(high_x - low_x, 1.0);
  const auto at_x = [&](double x) { return kLeft + (x - low_x) / span_x * (kWidth - kLeft - kRight); };
  const auto at_y = [&](double y) { return kHeight - kBottom - (y - low) / span * (kHeight - kBottom - kTop); };
  std::string svg = format("<figure><svg class=\"spark\" viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"", kWidth, kHeight) + html_escaped(title) + "\">";
  for (const double y : {low, high}) svg += format("<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>", kLeft - 6, at_y(y) + 4, y);
  for (const double x : {low_x, high_x}) svg += format("<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%g</text>", at_x(x), kHeight - 6, x);
  std::string caption = html_escaped(title);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    svg += "<polyline class=\"line" + std::to_string(i % std::size(kStrokes)) + "\" points=\"";
    for (const auto& [x, y] : lines[i].points) svg += format("%.1f,%.1f ", at_x(x), at_y(y));
    svg += "\"/>";
    if (!lines[i].name.empty()) caption += std::string(i == 0 ? ": " : ", ") + kStrokes[i % std::size(kStrokes)] + " " + html_escaped(lines[i].name);
  }
  return svg + "</svg><figcaption>" + caption + "</figcaption></figure>\n";
}

}  // namespace mla
