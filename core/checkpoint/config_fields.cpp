#include "core/checkpoint/config_fields.h"

#include <algorithm>

#include "core/base/error.h"

namespace mla {
namespace {

bool matches(const std::string& name, std::string_view pattern) {
  return pattern.back() == '*' ? name.rfind(pattern.substr(0, pattern.size() - 1), 0) == 0 : name == pattern;
}

}  // namespace

ConfigFields::ConfigFields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object()) fail<CheckpointError>("config", where_, ": wanted an object");
}

void ConfigFields::wrong(const char* name, const char* wanted, const Json& found) const {
  fail<CheckpointError>("config", where_, ": wanted ", name, " to be ", wanted, ", got ", found.dump());
}

const Json* ConfigFields::find(const char* name) {
  read_.insert(name);
  const auto found = object_.find(name);
  return found == object_.end() ? nullptr : &*found;
}

bool ConfigFields::has(const char* name) const {
  const auto found = object_.find(name);
  return found != object_.end() && !found->is_null();
}

bool ConfigFields::is_null(const char* name) const {
  const auto found = object_.find(name);
  return found != object_.end() && found->is_null();
}

int64_t ConfigFields::integer(const char* name, std::optional<int64_t> fallback) {
  const std::optional<int64_t> value = optional_integer(name);
  if (!value && !fallback) fail<CheckpointError>("config", where_, ": field ", name, " is missing");
  return value ? *value : *fallback;
}

std::optional<int64_t> ConfigFields::optional_integer(const char* name) {
  const Json* value = find(name);
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (!value->is_number_integer()) wrong(name, "an integer", *value);
  return value->get<int64_t>();
}

double ConfigFields::number(const char* name, std::optional<double> fallback) {
  const Json* value = find(name);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr) fail<CheckpointError>("config", where_, ": field ", name, " is missing");
  if (!value->is_number()) wrong(name, "a number", *value);
  return value->get<double>();
}

std::optional<double> ConfigFields::optional_number(const char* name) {
  if (!has(name)) return find(name), std::nullopt;
  return number(name);
}

bool ConfigFields::flag(const char* name, bool fallback) {
  const Json* value = find(name);
  if (value == nullptr || value->is_null()) return fallback;
  if (!value->is_boolean()) wrong(name, "true or false", *value);
  return value->get<bool>();
}

std::string ConfigFields::text(const char* name, const std::string& fallback) {
  const Json* value = find(name);
  if (value == nullptr || value->is_null()) return fallback;
  if (!value->is_string()) wrong(name, "a text", *value);
  return value->get<std::string>();
}

std::vector<double> ConfigFields::numbers(const char* name) {
  const Json* list = find(name);
  if (list == nullptr || list->is_null()) return {};
  if (!list->is_array()) wrong(name, "a list of numbers", *list);
  std::vector<double> values;
  for (const Json& value : *list) {
    if (!value.is_number()) wrong(name, "a list of numbers", *list);
    values.push_back(value.get<double>());
  }
  return values;
}

std::vector<std::string> ConfigFields::texts(const char* name) {
  const Json* list = find(name);
  if (list == nullptr || list->is_null()) return {};
  if (!list->is_array()) wrong(name, "a list of texts", *list);
  std::vector<std::string> values;
  for (const Json& value : *list) {
    if (!value.is_string()) wrong(name, "a list of texts", *list);
    values.push_back(value.get<std::string>());
  }
  return values;
}

const Json* ConfigFields::object(const char* name) {
  const Json* value = find(name);
  if (value == nullptr || value->is_null()) return nullptr;
  if (!value->is_object()) wrong(name, "an object", *value);
  return value;
}

void ConfigFields::reject_unknown(std::span<const char* const> neutral) const {
  for (const auto& [name, value] : object_.items()) {
    if (value.is_null() || value == false || read_.count(name) > 0) continue;
    if (std::any_of(neutral.begin(), neutral.end(), [&](const char* known) { return matches(name, known); })) continue;
    fail<CheckpointError>("config", where_, ": field ", name, " = ", value.dump(),
                          " is not supported: it may change the computation; remove it from the file if it does not");
  }
}

}  // namespace mla
