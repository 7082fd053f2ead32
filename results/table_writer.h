// Table to text. Cell text is data: it is escaped for the format and cannot break a row.
#pragma once
#include <string>
#include <string_view>

#include "results/table.h"

namespace mla {

enum class TableFormat { markdown, csv, json, text, latex, html };

// "markdown" (or "md"), "csv", "json", "text", "latex", "html". Throws ConfigError with the known names.
TableFormat parse_table_format(std::string_view name);

// csv and json are one flat table with every digit, the error in a column of its own. The others round, join "value ± error", and write a
// table per combination of Table::separate (markdown and text only where there are several).
std::string write_table(const Table& table, TableFormat format);

}  // namespace mla
