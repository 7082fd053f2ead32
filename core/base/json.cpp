#include "core/base/json.h"

#include <set>

#include "core/base/error.h"
#include "core/base/files.h"

namespace mla {
namespace {

// Depth without recursion, so that a file of a million brackets is refused before any parser sees it.
void check_depth(std::string_view text, std::string_view where, int limit) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      else if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > limit) fail<CheckpointError>("json", "wanted at most ", limit, " nested levels in ", where, ", got more at byte ", i);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

}  // namespace

Json parse_json(std::string_view text, std::string_view where, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    fail<CheckpointError>("json", "wanted at most ", limits.max_bytes, " bytes in ", where, ", got ", text.size());
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos)  // the parser would take it for the end
    fail<CheckpointError>("json", "malformed JSON in ", where, ": zero byte at ", nul);
  check_depth(text, where, limits.max_depth);
  std::vector<std::set<std::string>> keys;
  const auto callback = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      fail<CheckpointError>("json", "wanted each key once in ", where, ", got '", parsed.get<std::string>(), "' twice");
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), callback, true, limits.allow_comments);
  } catch (const Json::exception& error) {
    fail<CheckpointError>("json", "malformed JSON in ", where, ": ", error.what());
  }
}

Json read_json_file(const std::filesystem::path& path, const JsonLimits& limits) {
  return parse_json(read_text_file(path, limits.max_bytes), path.string(), limits);
}

}  // namespace mla
