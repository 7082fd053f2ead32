// The templates of task files: text with {column}, {column.part}, {column|filter|filter}; {{ and }} stand for braces.
// Filters: strip (ASCII whitespace at both ends, of each element where it is a list), spaces ('_' becomes ' '), listed (a list as
// lines "A. first", each ended), letters (a list becomes its letters A, B, ...).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/base/json.h"

namespace mla {

// Throws ConfigError for a brace without its partner, an empty column name or a filter that is not known.
void check_template(std::string_view text, const std::string& where);

// `where` names the row. Throws CheckpointError for a column that is not there or is no text or number.
std::string render(std::string_view text, const Json& row, const std::string& where);
// A list of templates, each rendered, or one template that is a single column holding a list.
std::vector<std::string> render_list(const Json& templates, const Json& row, const std::string& where);
// The value at "column.part". Throws CheckpointError naming the columns that are there.
const Json& column(const Json& row, std::string_view path, const std::string& where);
// A text as it is, a number in decimal.
std::string text_of(const Json& value, std::string_view path, const std::string& where);

}  // namespace mla
