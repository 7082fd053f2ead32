#include "results/kld_block.h"

#include <algorithm>
#include <cstdio>

#include "core/base/error.h"

namespace mla {
namespace {

struct Line {
  const char* label;
  const char* metric;
};

// Every line of a section prints its number, and its error where it has one, in the same way.
struct Section {
  const char* title;
  double factor;  // 100: as a percentage
  int width, digits, error_width;
  std::vector<Line> lines;
};

const std::vector<Section> kSections{
    {"Perplexity statistics", 1, 10, 6, 10,
     {{"Mean PPL(Q)                   : ", "ppl_q"}, {"Mean PPL(base)                : ", "ppl_base"}, {"Cor(ln(PPL(Q)), ln(PPL(base))): ", "ln_ppl_correlation"},
      {"Mean ln(PPL(Q)/PPL(base))     : ", "ln_ppl_ratio"}, {"Mean PPL(Q)/PPL(base)         : ", "ppl_quotient"}, {"Mean PPL(Q)-PPL(base)         : ", "ppl_difference"}}},
    {"KL divergence statistics", 1, 10, 6, 10,
     {{"Mean    KLD: ", "kld_mean"}, {"Maximum KLD: ", "kld_max"}, {"99.9%   KLD: ", "kld_p99.9"}, {"99.0%   KLD: ", "kld_p99"}, {"95.0%   KLD: ", "kld_p95"}, {"90.0%   KLD: ", "kld_p90"},
      {"Median  KLD: ", "kld_median"}, {"10.0%   KLD: ", "kld_p10"}, {" 5.0%   KLD: ", "kld_p5"}, {" 1.0%   KLD: ", "kld_p1"}, {" 0.1%   KLD: ", "kld_p0.1"}, {"Minimum KLD: ", "kld_min"}}},
    {"Token probability statistics", 100, 6, 3, 5,
     {{"Mean    Δp: ", "dp_mean"}, {"Maximum Δp: ", "dp_max"}, {"99.9%   Δp: ", "dp_p99.9"}, {"99.0%   Δp: ", "dp_p99"}, {"95.0%   Δp: ", "dp_p95"}, {"90.0%   Δp: ", "dp_p90"}, {"75.0%   Δp: ", "dp_p75"},
      {"Median  Δp: ", "dp_median"}, {"25.0%   Δp: ", "dp_p25"}, {"10.0%   Δp: ", "dp_p10"}, {" 5.0%   Δp: ", "dp_p5"}, {" 1.0%   Δp: ", "dp_p1"}, {" 0.1%   Δp: ", "dp_p0.1"}, {"Minimum Δp: ", "dp_min"},
      {"RMS Δp    : ", "dp_rms"}, {"Same top p: ", "same_top_share"}}}};

std::string number(double value, int width, int digits) {
  char text[400];
  std::snprintf(text, sizeof text, "%*.*f", width, digits, value);
  return text;
}

std::string line_of(const Section& section, const Line& line, const Metric& metric) {
  if (metric.name == "ln_ppl_correlation") return line.label + number(100 * metric.value, 6, 2) + "%\n";
  std::string text = line.label + number(section.factor * metric.value, section.width, section.digits);
  const bool percent = section.factor > 1;
  if (!metric.std_error) return text + (percent ? "%\n" : "\n");
  return text + " ± " + number(section.factor * *metric.std_error, section.error_width, section.digits) + (percent ? " %\n" : "\n");
}

}  // namespace

bool in_kld_block(const std::string& metric) {
  return std::any_of(kSections.begin(), kSections.end(), [&](const Section& section) {
    return std::any_of(section.lines.begin(), section.lines.end(), [&](const Line& line) { return line.metric == metric; });
  });
}

std::string write_kld_block(const std::vector<Metric>& metrics, const std::string& stage) {
  std::string text;
  bool any = false;
  for (const Section& section : kSections) {
    text += std::string(text.empty() ? "" : "\n") + "====== " + section.title + " ======\n";
    for (const Line& line : section.lines) {
      const auto found = std::find_if(metrics.begin(), metrics.end(), [&](const Metric& metric) { return metric.stage == stage && metric.name == line.metric; });
      if (found == metrics.end()) continue;
      text += line_of(section, line, *found);
      any = true;
    }
  }
  if (!any) fail<ConfigError>("kld", "wanted a divergence of stage ", stage, ", got none; score with --reference");
  return text;
}

}  // namespace mla
