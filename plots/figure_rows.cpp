#include "plots/figure_rows.h"

#include "core/base/error.h"
#include "core/base/names.h"

namespace mla {
namespace {

constexpr std::size_t kCommitsNamed = 3;

std::optional<double> number_in(const Cell& cell) {
  if (const auto* real = std::get_if<double>(&cell)) return *real;
  if (const auto* whole = std::get_if<int64_t>(&cell)) return static_cast<double>(*whole);
  return std::nullopt;
}

}  // namespace

FigureRows::FigureRows(const Table& table, std::string figure, const std::string& nothing) : table_(table), figure_(std::move(figure)) {
  if (table.rows.empty()) fail<ConfigError>("plot", "nothing to draw: ", nothing);
}

std::size_t FigureRows::place(const std::string& column) const {
  for (std::size_t c = 0; c < table_.columns.size(); ++c)
    if (table_.columns[c].name == column) return c;
  unusable(column);
}

void FigureRows::unusable(const std::string& column) const {
  fail<StoreError>("plot", "a run holds no usable value for ", figure_, " (column ", column, "); is this store damaged?");
}

const std::string& FigureRows::text(std::size_t row, const std::string& column) const {
  const auto* value = std::get_if<std::string>(&table_.rows.at(row).at(place(column)));
  if (value == nullptr) unusable(column);
  return *value;
}

double FigureRows::number(std::size_t row, const std::string& column) const {
  const std::optional<double> value = optional_number(row, column);
  if (!value) unusable(column);
  return *value;
}

std::optional<double> FigureRows::optional_number(std::size_t row, const std::string& column) const { return number_in(table_.rows.at(row).at(place(column))); }

std::optional<double> FigureRows::error(std::size_t row, const std::string& column) const {
  const int cell = table_.columns[place(column)].error_cell;
  return cell < 0 ? std::nullopt : number_in(table_.rows.at(row).at(static_cast<std::size_t>(cell)));
}

std::set<std::string> FigureRows::distinct(const std::string& column) const {
  std::set<std::string> values;
  for (std::size_t row = 0; row < size(); ++row) values.insert(text(row, column));
  return values;
}

std::string FigureRows::only(const std::string& column, const char* what, const char* flag) const {
  const std::set<std::string> values = distinct(column);
  if (values.size() > 1) fail<ConfigError>("plot", "wanted rows of one ", what, ", got ", join({values.begin(), values.end()}), "; choose one with ", flag);
  return *values.begin();
}

std::string commits_of(const Store& store, const std::string& model, const std::string& corpus, const std::string& protocol) {
  Statement read(store.database(),
                 "SELECT DISTINCT git_commit || CASE git_dirty WHEN 1 THEN '+' ELSE '' END AS shown FROM run WHERE status = 'done' AND ad_hoc_limit = 0 AND model = ?1 "
                 "AND (?2 = '' OR corpus = ?2) AND (?3 = '' OR protocol = ?3) ORDER BY shown");
  read.bind(1, model).bind(2, corpus).bind(3, protocol);
  std::vector<std::string> commits;
  std::size_t all = 0;
  while (read.step())
    if (++all <= kCommitsNamed) commits.push_back(read.text(0));
  return "mlaforge " + join(commits) + (all > commits.size() ? " and " + std::to_string(all - commits.size()) + " more commits" : "");
}

}  // namespace mla
