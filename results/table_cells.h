// What every table writer shares: numbers as people read them, columns that hold something, rows of one protocol at a time.
#pragma once
#include <string>
#include <vector>

#include "results/table.h"

namespace mla {

// Rounded, "value ± error"; empty where there is no value.
std::string rounded_cell(const Column& column, const std::vector<Cell>& row, std::size_t index);

// Control characters become spaces, so that a cell is one line.
std::string one_line(const std::string& text);

struct TextColumn {
  std::string name;
  bool right = false;  // numbers
};

struct TextTable {
  std::vector<TextColumn> columns;
  std::vector<std::vector<std::string>> rows;
};

// Header and rows through `escape`; a column that is empty in every row is left out.
TextTable text_table(const Table& table, std::string (*escape)(const std::string&));

struct Section {
  std::string title;  // "debian-policy, hf-chunk/512/first16"
  Table table;        // without the columns that the title names
};

// The rows of each combination of Table::separate apart, in order of appearance; one section without a title where nothing separates.
std::vector<Section> sections_of(const Table& table);

}  // namespace mla
