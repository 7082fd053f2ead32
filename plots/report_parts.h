// The pieces of the report. Each returns HTML whose texts are escaped.
#pragma once
#include <string>
#include <vector>

#include "results/store.h"

namespace mla {

const std::string& report_css();
const std::string& report_js();

// A first line that says what the file is: a folder whose index begins so may be replaced.
constexpr const char* kReportMark = "<!doctype html><!-- mlaforge report -->\n";

// A whole page. `script` may be empty; the page's policy admits it by its hash, and nothing else.
std::string report_page(const std::string& title, const std::string& body, const std::string& script = "");

struct ReportFigure {
  std::string name, svg;
};

std::string report_index(const Store& store, const std::vector<ReportFigure>& figures);
std::string report_run_page(const Store& store, int64_t id);

// What gnuplot draws of the store: the figures of each model, and of its first texts and protocols. Sets `no_gnuplot` and draws nothing where it is missing.
std::vector<ReportFigure> report_figures(const Store& store, bool& no_gnuplot);

// Lines of one chart as an SVG element; x is 0, 1, 2, ... Values that are absent break nothing: a line has what it has.
struct SparkLine {
  std::string name;
  std::vector<std::pair<double, double>> points;
};
std::string spark_chart(const std::string& title, const std::vector<SparkLine>& lines);

// Text with its line breaks, for <pre>.
std::string html_lines(const std::string& text);

}  // namespace mla
