// pytablewriter guesses a type for each column from its texts, and the type decides alignment and digits: a column of numbers has the
// digits of its longest one after trailing zeros are gone ("0.5000" beside "0.4300" prints 0.50), a column with any text in it prints each
// number in its own way, and where most cells so far were text the next number is text too. lm_eval's tables look as they do for that reason.
#include "results/lm_eval_table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

#include "core/base/error.h"

namespace mla {
namespace {

using OrderedJson = nlohmann::ordered_json;
constexpr std::size_t kColumns = 9;
constexpr std::array<const char*, kColumns> kHeaders{"Tasks", "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"};
constexpr std::size_t kLeastWidth = 3;

enum class Kind { empty, integer, real, text };

struct Cell {
  Kind kind = Kind::empty;
  std::string text;   // as it was handed over
  double number = 0;  // of integer and real
  int digits = 0;     // of real, after the point
};
using Row = std::array<Cell, kColumns>;

Cell text_cell(const std::string& text) {
  if (text.find_first_not_of(' ') == std::string::npos) return {};
  return {Kind::text, text, 0, 0};
}

std::string fixed(double value, int digits) {
  char text[400];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

// A number of four digits after the point, as lm_eval rounds it before it hands it over as text.
Cell number_cell(double value) {
  const std::string given = fixed(value, 4);
  std::string text = given;
  const double rounded = std::strtod(text.c_str(), nullptr);
  text.erase(text.find_last_not_of('0') + 1);
  const int digits = static_cast<int>(text.size() - text.find('.')) - 1;
  return digits == 0 ? Cell{Kind::integer, given, rounded == 0 ? 0.0 : rounded, 0} : Cell{Kind::real, given, rounded, digits};
}

Cell whole_cell(const OrderedJson& value) {
  if (value.is_number_integer()) return {Kind::integer, "", value.get<double>(), 0};
  return value.is_number() ? number_cell(value.get<double>()) : text_cell("");
}

// Columns on a terminal: continuation bytes of UTF-8 take no room.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

struct Layout {
  Kind kind = Kind::empty;
  int digits = 0;
  std::size_t width = kLeastWidth;
};

std::string shown(const Cell& cell, const Layout& column) {
  switch (cell.kind) {
    case Kind::empty: return "";
    case Kind::text: return cell.text;
    case Kind::integer: return fixed(cell.number, column.kind == Kind::real ? column.digits : 0);
    case Kind::real: return fixed(cell.number, column.digits);
  }
  return "";
}

Layout layout_of(const std::vector<Row>& rows, std::size_t index) {
  Layout column;
  for (const Row& row : rows) {
    column.kind = std::max(column.kind, row[index].kind);
    column.digits = std::max(column.digits, row[index].digits);
  }
  column.width = std::max(kLeastWidth, width_of(kHeaders[index]));
  for (const Row& row : rows) column.width = std::max(column.width, width_of(shown(row[index], column)));
  return column;
}

bool is_number(Kind kind) { return kind == Kind::integer || kind == Kind::real; }

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::string blanks(width - std::min(width, width_of(text)), ' ');
  std::string escaped;
  for (const char c : text) escaped += c == '|' ? std::string("\\|") : std::string(1, c);
  return right ? blanks + escaped : escaped + blanks;
}

std::string write(const std::vector<Row>& rows) {
  std::array<Layout, kColumns> columns;
  for (std::size_t c = 0; c < kColumns; ++c) columns[c] = layout_of(rows, c);
  std::string head = "|", rule = "|", body;
  for (std::size_t c = 0; c < kColumns; ++c) {
    const std::string title = kHeaders[c];
    const std::size_t room = columns[c].width - width_of(title);
    head += std::string(room / 2, ' ') + title + std::string(room - room / 2, ' ') + '|';
    rule += is_number(columns[c].kind) ? std::string(columns[c].width - 1, '-') + ":|" : std::string(columns[c].width, '-') + '|';
  }
  for (const Row& row : rows) {
    body += '|';
    for (std::size_t c = 0; c < kColumns; ++c)
      body += padded(shown(row[c], columns[c]), columns[c].width, is_number(row[c].kind)) + '|';
    body += '\n';
  }
  return head + '\n' + rule + '\n' + body;
}

// What pytablewriter takes errors for: the kind that most cells above had, the first seen where two tie, is tried first, and everything
// can be text.
void guess_errors(std::vector<Row>& rows) {
  std::vector<std::pair<Kind, int>> seen;  // in the order of first sight
  const auto leader = [&] { return std::max_element(seen.begin(), seen.end(), [](const auto& a, const auto& b) { return a.second < b.second; }); };
  for (Row& row : rows) {
    Cell& cell = row[kColumns - 1];
    const bool as_text = !seen.empty() && leader()->first == Kind::text;
    if (as_text && cell.kind != Kind::empty) cell = {Kind::text, cell.text, 0, 0};
    const Kind counted = as_text ? Kind::text : cell.kind;
    const auto known = std::find_if(seen.begin(), seen.end(), [&](const auto& entry) { return entry.first == counted; });
    if (known != seen.end()) ++known->second;
    else seen.emplace_back(counted, 1);
  }
}

struct MetricKey {
  std::string metric, filter;
};
MetricKey split(const std::string& key) {
  const std::size_t comma = key.find(',');
  return comma == std::string::npos ? MetricKey{key, ""} : MetricKey{key.substr(0, comma), key.substr(comma + 1)};
}

bool ends_with(const std::string& text, std::string_view end) { return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0; }

OrderedJson member(const OrderedJson& results, const char* part, const std::string& task) {
  return results.contains(part) && results[part].contains(task) ? results[part][task] : OrderedJson();
}

void add_task(const OrderedJson& results, const std::string& task, const OrderedJson& values, std::vector<Row>& rows) {
  const OrderedJson version = member(results, "versions", task), shots = member(results, "n-shot", task), direction = member(results, "higher_is_better", task);
  std::map<std::string, OrderedJson> sorted;
  for (const auto& [key, value] : values.items())
    if (value.is_number() && key != "sample_len") sorted[key] = value;
  bool first = true;
  for (const auto& [key, value] : sorted) {
    const auto [metric, filter] = split(key);
    if (ends_with(metric, "_stderr")) continue;
    const std::string error_key = metric + "_stderr," + filter;
    Row row;
    if (first) row[0] = text_cell(values.value("alias", task));
    if (first) row[1] = version.is_null() ? text_cell("    N/A") : whole_cell(version);
    row[2] = text_cell(filter);
    row[3] = whole_cell(shots);
    row[4] = text_cell(metric);
    if (direction.contains(metric) && direction[metric].is_boolean()) row[5] = text_cell(direction[metric].get<bool>() ? "↑" : "↓");
    row[6] = number_cell(value.get<double>());
    if (values.contains(error_key)) {
      row[7] = text_cell("±");
      row[8] = values[error_key].is_number() ? number_cell(values[error_key].get<double>()) : text_cell("   N/A");
    }
    rows.push_back(row);
    first = false;
  }
}

}  // namespace

std::string write_lm_eval_table(const OrderedJson& results) {
  if (!results.is_object() || !results.contains("results") || !results["results"].is_object())
    fail<ConfigError>("export", "wanted an object with lm-evaluation-harness's key 'results', got another");
  std::map<std::string, OrderedJson> tasks;
  for (const auto& [task, values] : results["results"].items()) tasks[task] = values;
  std::vector<Row> rows;
  for (const auto& [task, values] : tasks) add_task(results, task, values, rows);
  guess_errors(rows);
  return write(rows);
}

}  // namespace mla
