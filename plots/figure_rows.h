// Rows of a query as figures read them: columns by name, types checked, what cannot be drawn together refused.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "results/store.h"
#include "results/table.h"

namespace mla {

class FigureRows {
 public:
  // Throws ConfigError with `nothing` where there is no row.
  FigureRows(const Table& table, std::string figure, const std::string& nothing);

  std::size_t size() const { return table_.rows.size(); }
  // A store of someone else's making may hold any type anywhere: StoreError naming the column.
  const std::string& text(std::size_t row, const std::string& column) const;
  double number(std::size_t row, const std::string& column) const;  // whole ones too
  std::optional<double> optional_number(std::size_t row, const std::string& column) const;
  std::optional<double> error(std::size_t row, const std::string& column) const;  // the column's standard error
  std::set<std::string> distinct(const std::string& column) const;
  // The column's only value. Two protocols, texts or models in one figure would compare what cannot be compared: ConfigError naming the flag that chooses.
  std::string only(const std::string& column, const char* what, const char* flag) const;
  const Table& table() const { return table_; }

 private:
  std::size_t place(const std::string& column) const;
  [[noreturn]] void unusable(const std::string& column) const;

  const Table& table_;
  std::string figure_;
};

// "mlaforge 2eae3d1abcde, 0c12f00dbabe+": commits of the finished runs of one model, and of a text and protocol where they are given; + where the tree had
// changes. More than three are counted.
std::string commits_of(const Store& store, const std::string& model, const std::string& corpus = "", const std::string& protocol = "");

}  // namespace mla
