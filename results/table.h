// A result of a named query: typed cells and how to print them.
#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace mla {

using Cell = std::variant<std::monostate, int64_t, double, std::string>;

struct Column {
  std::string name;
  int digits = -1;     // after the point; -1: six significant digits
  int error_cell = -1; // index into the row of the standard error printed as "± e"; that cell lies behind the columns
};

struct Table {
  std::string name;
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;  // columns.size() cells, then hidden ones that columns refer to
  std::vector<std::size_t> separate;    // columns whose values set rows apart: what was scored by two protocols never shares a column
};

}  // namespace mla
