#include "experiments/bench/formats.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/names.h"

namespace mla {
namespace {

constexpr std::size_t kNarrow = 8;  // characters of a column of md, at least

std::string json_text(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string plain(const Json& value) { return value.is_null() ? "" : value.is_string() ? value.get<std::string>() : json_text(value); }

// `quote` around the text, doubled within it.
std::string quoted(const std::string& text, char quote) {
  std::string all(1, quote);
  for (const char c : text) all += c == quote ? std::string(2, quote) : std::string(1, c);
  return all + quote;
}

// What a row may lack is a number.
std::string sql_type(const Json& value) { return value.is_number_integer() ? "INTEGER" : value.is_number() || value.is_null() ? "REAL" : "TEXT"; }

std::string sql_value(const Json& value) {
  if (value.is_null()) return "NULL";
  return value.is_number() ? json_text(value) : quoted(plain(value), '\'');
}

std::string object_of(const BenchRecord& record) {
  std::string text;
  for (const auto& [name, value] : record.fields) text += (text.empty() ? "" : ", ") + json_text(name) + ": " + json_text(value);
  return "{" + text + "}";
}

template <class Shown>
std::string list_of(const BenchRecord& record, const char* separator, const Shown& shown) {
  std::string text;
  for (const auto& [name, value] : record.fields)
    if (!value.is_array()) text += (text.empty() ? "" : separator) + shown(name, value);
  return text;
}

// Characters as a terminal counts them: bytes that begin one.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string cell(std::string text, const BenchColumn& column) {
  std::replace(text.begin(), text.end(), '|', '/');
  const std::size_t width = std::max(kNarrow, width_of(column.name)), own = width_of(text);
  const std::string padding(own < width ? width - own : 0, ' ');
  return column.right ? padding + text : text + padding;
}

}  // namespace

const std::vector<std::string>& bench_formats() {
  static const std::vector<std::string> formats{"md", "csv", "json", "jsonl", "sql"};
  return formats;
}

BenchPrinter::BenchPrinter(std::ostream& out, const std::string& format, std::string table, std::vector<BenchColumn> columns)
    : out_(out), format_(format), table_(std::move(table)), columns_(std::move(columns)) {
  if (std::find(bench_formats().begin(), bench_formats().end(), format) == bench_formats().end())
    fail<UsageError>("bench", "unknown format '", format, "'", known_names_hint(format, bench_formats()));
}

void BenchPrinter::begin() {
  if (format_ == "json") out_ << "[\n";
  if (format_ != "md") return;
  std::string names = "|", rule = "|";
  for (const BenchColumn& column : columns_) {
    const std::string name = cell(column.name, column);
    names += " " + name + " |";
    rule += " " + std::string(width_of(name) - 1, '-') + (column.right ? ": |" : "- |");
  }
  out_ << names << '\n' << rule << '\n' << std::flush;
}

void BenchPrinter::add(const BenchRecord& record) {
  if (format_ == "json") out_ << (first_ ? "  " : ",\n  ") << object_of(record);
  else if (format_ == "jsonl") out_ << object_of(record) << '\n';
  else if (format_ == "csv") add_csv(record);
  else if (format_ == "sql") add_sql(record);
  else add_markdown(record);
  out_ << std::flush;
  first_ = false;
}

void BenchPrinter::add_markdown(const BenchRecord& record) {
  out_ << '|';
  for (std::size_t i = 0; i < columns_.size(); ++i) out_ << ' ' << cell(record.cells.at(i), columns_[i]) << " |";
  out_ << '\n';
}

void BenchPrinter::add_csv(const BenchRecord& record) {
  if (first_) out_ << list_of(record, ",", [](const std::string& name, const Json&) { return name; }) << '\n';
  out_ << list_of(record, ",", [](const std::string&, const Json& value) { return quoted(plain(value), '"'); }) << '\n';
}

void BenchPrinter::add_sql(const BenchRecord& record) {
  if (first_)
    out_ << "CREATE TABLE IF NOT EXISTS " << table_ << " (\n  "
         << list_of(record, ",\n  ", [](const std::string& name, const Json& value) { return name + " " + sql_type(value); }) << "\n);\n\n";
  out_ << "INSERT INTO " << table_ << " (" << list_of(record, ", ", [](const std::string& name, const Json&) { return name; }) << ") VALUES ("
       << list_of(record, ", ", [](const std::string&, const Json& value) { return sql_value(value); }) << ");\n";
}

void BenchPrinter::end(const std::string& closing) {
  if (format_ == "json") out_ << (first_ ? "]\n" : "\n]\n");
  if (format_ == "md") out_ << '\n' << closing << '\n';
  out_ << std::flush;
}

}  // namespace mla
