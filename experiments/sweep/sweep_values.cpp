#include "experiments/sweep/sweep_values.h"

#include <charconv>
#include <optional>

#include "core/base/error.h"
#include "core/base/expression.h"

namespace mla {
namespace {

constexpr std::size_t kMostValues = 10'000;

struct Range {
  int64_t first = 0, last = 0, step = 1;
  bool multiplies = false;
};

// first-last, first-last+step, first-last*factor; nothing for any other text ("2-norm" is a name).
std::optional<Range> range_of(const std::string& text) {
  Range range;
  const char *at = text.data(), *end = at + text.size();
  const auto number = [&](int64_t& value) {
    const auto read = std::from_chars(at, end, value);
    if (read.ec != std::errc() || *at == '-') return false;
    at = read.ptr;
    return true;
  };
  if (at == end || !number(range.first) || at == end || *at++ != '-' || at == end || !number(range.last)) return std::nullopt;
  if (at == end) return range;
  range.multiplies = *at == '*';
  if ((*at != '+' && *at != '*') || ++at == end || !number(range.step) || at != end) return std::nullopt;
  return range;
}

void add_range(const Range& range, const std::string& text, const std::string& where, std::vector<std::string>& values) {
  if (range.last < range.first) fail<ConfigError>("sweep", "wanted a range that runs upwards for ", where, ", got ", text);
  if (range.multiplies ? range.step < 2 || range.first < 1 : range.step < 1)
    fail<ConfigError>("sweep", "wanted a step of at least 1, or a factor of at least 2 from at least 1, for ", where, ", got ", text);
  for (int64_t value = range.first; value <= range.last;) {
    if (values.size() == kMostValues) fail<ConfigError>("sweep", "wanted at most ", kMostValues, " values for ", where, ", got more in ", text);
    values.push_back(std::to_string(value));
    if (range.multiplies ? __builtin_mul_overflow(value, range.step, &value) : __builtin_add_overflow(value, range.step, &value)) break;
  }
}

void add_text(const std::string& text, const std::string& where, std::vector<std::string>& values) {
  if (text.empty()) fail<ConfigError>("sweep", "wanted a value for ", where, ", got an empty text; null leaves the flag away");
  if (const std::optional<Range> range = range_of(text)) add_range(*range, text, where, values);
  else values.push_back(text);
}

void add_scalar(const Json& value, const std::string& where, std::vector<std::string>& values) {
  if (value.is_null()) values.emplace_back();
  else if (value.is_string()) add_text(value, where, values);
  else if (value.is_boolean()) values.emplace_back(value.get<bool>() ? "true" : "false");
  else if (value.is_number_integer()) values.push_back(value.dump());
  else if (value.is_number()) values.push_back(text_of_value(value.get<double>()));
  else fail<ConfigError>("sweep", "wanted a text, a number, true, false, null or a list of them for ", where, ", got ", value.type_name());
}

}  // namespace

std::vector<std::string> sweep_values(const Json& value, const std::string& where) {
  std::vector<std::string> values;
  if (value.is_array()) {
    for (const Json& each : value) add_scalar(each, where, values);
  } else if (value.is_string() && value.get_ref<const std::string&>().find(',') != std::string::npos) {
    const auto& text = value.get_ref<const std::string&>();
    for (std::size_t from = 0; from <= text.size();) {
      const std::size_t comma = std::min(text.find(',', from), text.size());
      add_text(text.substr(from, comma - from), where, values);
      from = comma + 1;
    }
  } else {
    add_scalar(value, where, values);
  }
  if (values.empty()) fail<ConfigError>("sweep", "wanted at least one value for ", where, ", got an empty list");
  return values;
}

}  // namespace mla
