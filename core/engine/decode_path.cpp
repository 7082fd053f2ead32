#include "core/engine/decode_path.h"

#include <set>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/progress.h"

namespace mla {
namespace {

std::optional<std::string> why_not(const Decoder& decoder, const CacheFormat& format, bool exactly) {
  if (const std::optional<std::string> reason = why_not_held(decoder, format)) return reason;
  if (exactly && !follows_rule(decoder, format)) return "its rope keys do not become integers there, so that its numbers are not those of " + cache_format_name(format);
  return std::nullopt;
}

void warn_once(const std::string& text) {
  static std::set<std::string> known;
  if (known.insert(text).second) warn(text);
}

}  // namespace

const std::vector<std::string>& decode_path_names() {
  static const std::vector<std::string> names{"auto", "engine", "libtorch"};
  return names;
}

DecodePath parse_decode_path(const std::string& name) {
  for (std::size_t i = 0; i < decode_path_names().size(); ++i)
    if (name == decode_path_names()[i]) return static_cast<DecodePath>(i);
  fail<ConfigError>("decode", "unknown way to decode '", name, "'", known_names_hint(name, decode_path_names()));
}

DecodeWay decode_way(DecodePath path, const Decoder& decoder, const CacheFormat& format, bool exactly) {
  if (path == DecodePath::libtorch || (path == DecodePath::automatic && !decoder.device().is_cuda())) return {};
  const std::optional<std::string> reason = why_not(decoder, format, exactly);
  if (path == DecodePath::engine) {
    if (reason) fail<ConfigError>("decode", "wanted a model and a cache that the decode engine holds, but ", *reason, "; use --decode libtorch");
    return {engine_machine(decoder.device()), ""};
  }
  DecodeWay way;
  try {
    if (!reason) return {engine_machine(decoder.device()), ""};
    way.reason = *reason;
  } catch (const CudaError& error) {
    way.reason = error.what();
  }
  warn_once("decoding goes through LibTorch: " + way.reason);
  return way;
}

Json decode_record(const std::string& way, const std::string& reason) {
  Json record{{"way", way}};
  if (!reason.empty()) record["reason"] = reason;
  return record;
}

}  // namespace mla
