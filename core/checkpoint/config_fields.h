// The fields of one JSON object of an untrusted configuration: each is read with its type checked, and what nobody read is an error.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/base/json.h"

namespace mla {

class ConfigFields {
 public:
  // `where` names file and object in errors. Throws CheckpointError unless it is an object. `object` must outlive this.
  ConfigFields(const Json& object, std::string where);

  bool has(const char* name) const;      // and it is not null
  bool is_null(const char* name) const;  // it stands there as null
  // Each throws CheckpointError naming the field where it has another type, or is missing or null without a fallback.
  int64_t integer(const char* name, std::optional<int64_t> fallback = std::nullopt);
  std::optional<int64_t> optional_integer(const char* name);
  double number(const char* name, std::optional<double> fallback = std::nullopt);  // a null counts as a wrong type
  std::optional<double> optional_number(const char* name);
  bool flag(const char* name, bool fallback);
  std::string text(const char* name, const std::string& fallback);
  std::vector<double> numbers(const char* name);
  std::vector<std::string> texts(const char* name);
  const Json* object(const char* name);  // null where it is absent
  void ignore(const char* name) { read_.insert(name); }

  // Throws CheckpointError naming the first field that nobody read, whose value is neither null nor false and that is not among
  // `neutral` (names; one that ends in * stands for all that begin so).
  void reject_unknown(std::span<const char* const> neutral) const;
  const std::string& where() const { return where_; }

 private:
  const Json* find(const char* name);
  [[noreturn]] void wrong(const char* name, const char* wanted, const Json& found) const;
  const Json& object_;
  std::string where_;
  std::set<std::string> read_;
};

}  // namespace mla
