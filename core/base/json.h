// JSON of untrusted files: bounded depth, errors that name the file, duplicate keys refused.
#pragma once
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace mla {

using Json = nlohmann::json;

struct JsonLimits {
  std::size_t max_bytes = std::size_t{256} << 20;
  int max_depth = 32;
  bool allow_comments = false;
};

// Parses strict UTF-8 JSON; `where` names the source in errors. Throws CheckpointError with byte offset and reason.
Json parse_json(std::string_view text, std::string_view where, const JsonLimits& limits = {});
// Reads and parses a file. Throws CheckpointError (missing, too large, malformed).
Json read_json_file(const std::filesystem::path& path, const JsonLimits& limits = {});

}  // namespace mla
