// Reads a JSON object of a task file: each key asked for is known, the others are refused with the nearest known one.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/json.h"

namespace mla {

class TaskKeys {
 public:
  // Both must outlive the reader. Throws ConfigError where `object` is none.
  TaskKeys(const Json& object, const std::string& where);

  bool has(const std::string& key);
  // Null where the key is absent.
  const Json& raw(const std::string& key);
  std::string text(const std::string& key);  // required, not empty
  std::string text_or(const std::string& key, const std::string& fallback);
  std::string one_of(const std::string& key, const std::string& fallback, const std::vector<std::string>& known);
  int64_t whole(const std::string& key, int64_t fallback);  // at least 0
  bool flag(const std::string& key, bool fallback);
  std::vector<std::string> texts(const std::string& key);   // empty where absent
  void reject_unknown() const;
  [[noreturn]] void wrong(const std::string& key, const std::string& wanted) const;

 private:
  const Json& object_;
  const std::string& where_;
  std::vector<std::string> known_;
};

}  // namespace mla
