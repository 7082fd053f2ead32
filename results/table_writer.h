// Table to text. Cell text is data: it is escaped for the format and cannot break a row.
#pragma once
#include <string>
#include <string_view>

#include "results/table.h"

namespace mla {

enum class TableFormat { markdown, csv, json, text };

// "markdown" (or "md"), "csv", "json", "text". Throws ConfigError with the known names.
TableFormat parse_table_format(std::string_view name);

// Markdown and text round and join "value ± error"; csv and json carry every digit, the error in a column of its own.
std::string write_table(const Table& table, TableFormat format);

}  // namespace mla
