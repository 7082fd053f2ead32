#include "eval/task_keys.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/names.h"

namespace mla {

TaskKeys::TaskKeys(const Json& object, const std::string& where) : object_(object), where_(where) {
  if (!object.is_object()) fail<ConfigError>("task", "wanted an object in ", where, ", got ", object.type_name());
}

bool TaskKeys::has(const std::string& key) { return !raw(key).is_null(); }

const Json& TaskKeys::raw(const std::string& key) {
  static const Json none;
  known_.push_back(key);
  const auto found = object_.find(key);
  return found == object_.end() ? none : *found;
}

void TaskKeys::wrong(const std::string& key, const std::string& wanted) const {
  const auto found = object_.find(key);
  fail<ConfigError>("task", "wanted '", key, "' in ", where_, " to be ", wanted, ", got ",
                    found == object_.end() ? std::string("nothing") : found->dump().substr(0, 60));
}

std::string TaskKeys::text(const std::string& key) {
  const Json& value = raw(key);
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) wrong(key, "a text");
  return value;
}

std::string TaskKeys::text_or(const std::string& key, const std::string& fallback) {
  const Json& value = raw(key);
  if (value.is_null()) return fallback;
  if (!value.is_string()) wrong(key, "a text");
  return value;
}

std::string TaskKeys::one_of(const std::string& key, const std::string& fallback, const std::vector<std::string>& known) {
  const std::string value = fallback.empty() ? text(key) : text_or(key, fallback);
  if (std::find(known.begin(), known.end(), value) == known.end())
    fail<ConfigError>("task", "wanted a known '", key, "' in ", where_, ", got '", value, "'", known_names_hint(value, known));
  return value;
}

int64_t TaskKeys::whole(const std::string& key, int64_t fallback) {
  const Json& value = raw(key);
  if (value.is_null()) return fallback;
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{1} << 40) wrong(key, "a whole number of at least 0");
  return value.get<int64_t>();
}

bool TaskKeys::flag(const std::string& key, bool fallback) {
  const Json& value = raw(key);
  if (value.is_null()) return fallback;
  if (!value.is_boolean()) wrong(key, "true or false");
  return value;
}

std::vector<std::string> TaskKeys::texts(const std::string& key) {
  const Json& value = raw(key);
  if (value.is_null()) return {};
  const auto is_text = [](const Json& each) { return each.is_string(); };
  if (!value.is_array() || !std::all_of(value.begin(), value.end(), is_text)) wrong(key, "a list of texts");
  return value;
}

void TaskKeys::reject_unknown() const {
  for (const auto& [key, value] : object_.items())
    if (std::find(known_.begin(), known_.end(), key) == known_.end())
      fail<ConfigError>("task", "unknown key '", key, "' in ", where_, known_names_hint(key, known_));
}

}  // namespace mla
