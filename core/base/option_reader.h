// Reads a recipe's or task's JSON options: typed, with defaults, unknown names refused with the nearest known one.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/json.h"

namespace mla {

class OptionReader {
 public:
  // `options` must be an object or null; `owner` names the recipe in errors. Both must outlive the reader.
  OptionReader(const Json& options, std::string owner);

  // Each getter throws ConfigError when the value has another type or lies out of range.
  int64_t positive(const std::string& name, int64_t fallback);
  int64_t non_negative(const std::string& name, int64_t fallback);
  std::optional<int64_t> optional_positive(const std::string& name);
  std::optional<int64_t> positive_or_auto(const std::string& name, std::optional<int64_t> fallback);  // "auto" = nullopt
  std::optional<double> number_or_none(const std::string& name, std::optional<double> fallback);      // "none" = nullopt
  double number(const std::string& name, double fallback);
  bool flag(const std::string& name, bool fallback);
  std::string choice(const std::string& name, const std::string& fallback, const std::vector<std::string>& known);
  std::string text(const std::string& name, const std::string& fallback);

  void reject_unknown() const;  // throws ConfigError naming the option and the nearest known one

 private:
  const Json* find(const std::string& name);
  [[noreturn]] void wrong(const std::string& name, const std::string& wanted, const Json& found) const;
  const Json& options_;
  std::string owner_;
  std::vector<std::string> known_;
};

}  // namespace mla
