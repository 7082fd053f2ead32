#include "core/base/option_reader.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/names.h"

namespace mla {

OptionReader::OptionReader(const Json& options, std::string owner) : options_(options), owner_(std::move(owner)) {
  if (!options.is_object() && !options.is_null()) fail<ConfigError>(owner_, "wanted options as an object, got ", options.dump());
}

const Json* OptionReader::find(const std::string& name) {
  known_.push_back(name);
  if (!options_.is_object()) return nullptr;
  const auto found = options_.find(name);
  return found == options_.end() || found->is_null() ? nullptr : &*found;
}

void OptionReader::wrong(const std::string& name, const std::string& wanted, const Json& found) const {
  fail<ConfigError>(owner_, "wanted option '", name, "' to be ", wanted, ", got ", found.dump());
}

int64_t OptionReader::positive(const std::string& name, int64_t fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_number_integer() || value->get<int64_t>() < 1) wrong(name, "a positive integer", *value);
  return value->get<int64_t>();
}

int64_t OptionReader::non_negative(const std::string& name, int64_t fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_number_integer() || value->get<int64_t>() < 0) wrong(name, "an integer of at least 0", *value);
  return value->get<int64_t>();
}

std::optional<int64_t> OptionReader::optional_positive(const std::string& name) {
  const Json* value = find(name);
  if (value == nullptr || *value == "none") return std::nullopt;
  if (!value->is_number_integer() || value->get<int64_t>() < 1) wrong(name, "a positive integer or none", *value);
  return value->get<int64_t>();
}

std::optional<int64_t> OptionReader::positive_or_auto(const std::string& name, std::optional<int64_t> fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (*value == "auto") return std::nullopt;
  if (!value->is_number_integer() || value->get<int64_t>() < 1) wrong(name, "a positive integer or auto", *value);
  return value->get<int64_t>();
}

std::optional<double> OptionReader::number_or_none(const std::string& name, std::optional<double> fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (*value == "none") return std::nullopt;
  if (!value->is_number() || value->get<double>() <= 0) wrong(name, "a positive number or none", *value);
  return value->get<double>();
}

double OptionReader::number(const std::string& name, double fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_number()) wrong(name, "a number", *value);
  return value->get<double>();
}

bool OptionReader::flag(const std::string& name, bool fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) wrong(name, "true or false", *value);
  return value->get<bool>();
}

std::string OptionReader::choice(const std::string& name, const std::string& fallback, const std::vector<std::string>& known) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_string() || std::find(known.begin(), known.end(), value->get<std::string>()) == known.end())
    wrong(name, "one of " + join(known), *value);
  return value->get<std::string>();
}

std::string OptionReader::text(const std::string& name, const std::string& fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_string()) wrong(name, "a text", *value);
  return value->get<std::string>();
}

void OptionReader::reject_unknown() const {
  if (!options_.is_object()) return;
  for (const auto& item : options_.items())
    if (std::find(known_.begin(), known_.end(), item.key()) == known_.end())
      fail<ConfigError>(owner_, "unknown option '", item.key(), "'", known_names_hint(item.key(), known_));
}

}  // namespace mla
