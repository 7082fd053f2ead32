#include "experiments/data_root.h"

#include <unistd.h>

#include <cstdlib>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/names.h"
#include "core/base/sha256.h"
#include "experiments/build_info.h"

namespace mla {
namespace fs = std::filesystem;
namespace {

bool writable(const fs::path& path) { return access(path.c_str(), W_OK) == 0; }

fs::path parent_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

const Json& manifest() {
  static const Json parsed = Json::parse(manifest_text());
  return parsed;
}

// Folders that may hold a text of the manifest, in the order in which they are tried.
std::vector<fs::path> folders_of(const Json& entry, const std::string& root_given) {
  std::vector<fs::path> folders;
  if (entry.at("where") == "cache") {
    if (const char* cache = std::getenv("MLAFORGE_CACHE"); cache != nullptr && *cache != '\0') folders.emplace_back(cache);
    folders.push_back(fs::path(build_info().source_dir) / ".cache");
  } else if (const fs::path root = data_root(root_given); !root.empty()) {
    folders.push_back(root);
  }
  return folders;
}

// The manifest's name of a file with this content, else the file's stem.
std::string name_by_content(const fs::path& path) {
  const std::string found = sha256_of_file(path);
  for (const Json& entry : manifest().at("texts"))
    for (const char* half : {"corpus", "calibration"})
      if (entry.contains(half) && entry.at(half).at("sha256") == found) return entry.at("name");
  return path.stem().string();
}

Text named_text(const Json& entry, TextRole role, const std::string& root_given) {
  const std::string name = entry.at("name");
  if (role == TextRole::corpus && !entry.contains("corpus"))
    fail<ConfigError>("data", "wanted a text to score, got '", name, "', which is for calibration only");
  const Json& half = entry.at(role == TextRole::corpus ? "corpus" : "calibration");
  const std::string rule = role == TextRole::corpus ? half.value("rule", "") : entry.value("rule", "");
  std::string tried;
  std::error_code ignored;
  for (const fs::path& folder : folders_of(entry, root_given)) {
    const fs::path path = folder / half.at("file").get<std::string>();
    tried += (tried.empty() ? "" : ", ") + path.string();
    if (!fs::is_regular_file(path, ignored)) continue;
    const std::string found = sha256_of_file(path), wanted = half.at("sha256");
    if (found == wanted || wanted.empty()) return {path, name, std::nullopt, rule};
    return {path, name, "text " + name + " has sha256 " + found.substr(0, 12) + ", the manifest says " + wanted.substr(0, 12), rule};
  }
  fail<CheckpointError>("data", "text '", name, "' is not there; looked for ", tried.empty() ? "a data root, of which there is none" : tried,
                        "; ", entry.at("how").get<std::string>());
}

}  // namespace

fs::path data_root(const std::string& given) {
  if (!given.empty()) return given;
  if (const char* variable = std::getenv("MLAFORGE_DATA"); variable != nullptr && *variable != '\0') return variable;
  std::error_code ignored;
  for (const fs::path& base : {fs::current_path(ignored), fs::path(build_info().source_dir)}) {
    const fs::path candidate = base / ".." / "shared" / "data";
    if (fs::is_directory(candidate, ignored)) return candidate.lexically_normal();
  }
  return {};
}

std::vector<std::string> text_names() {
  std::vector<std::string> names;
  for (const Json& entry : manifest().at("texts")) names.push_back(entry.at("name"));
  return names;
}

Text find_text(const std::string& name, TextRole role, const std::string& root_given) {
  std::error_code ignored;
  if (fs::is_regular_file(name, ignored)) return {name, name_by_content(name), std::nullopt, ""};
  for (const Json& entry : manifest().at("texts"))
    if (entry.at("name") == name || entry.value("alias", "") == name) return named_text(entry, role, root_given);
  fail<CheckpointError>("data", "wanted a text file or a named text, got '", name, "', which is no file", known_names_hint(name, text_names()));
}

fs::path find_model(const std::string& name) {
  std::error_code ignored;
  if (!fs::exists(name, ignored))
    fail<CheckpointError>("model", "wanted a GGUF file or a model directory, got '", name, "', which is not there; check --model");
  return name;
}

void require_writable_store(const fs::path& path) {
  std::error_code ignored;
  const fs::path folder = parent_of(path);
  if (fs::is_directory(path, ignored)) fail<StoreError>("store", path.string(), " is a folder; --store wants a file name");
  if (!fs::is_directory(folder, ignored))
    fail<StoreError>("store", "folder ", folder.string(), " of --store is not there; create it or choose another path");
  if (!writable(folder) || (fs::exists(path, ignored) && !writable(path)))
    fail<StoreError>("store", path.string(), " cannot be written; choose another --store");
}

void require_new_directory(const fs::path& path) {
  std::error_code ignored;
  if (fs::exists(path, ignored) && (!fs::is_directory(path, ignored) || !fs::is_empty(path, ignored)))
    fail<ConfigError>("convert", path.string(), " exists already; choose another --out or remove it");
  const fs::path full = fs::absolute(path, ignored);
  const fs::path folder = parent_of(full.has_filename() ? full : full.parent_path());
  if (!fs::is_directory(folder, ignored) || !writable(folder))
    fail<ResourceError>("convert", "folder ", folder.string(), " of --out cannot be written; choose another path");
}

}  // namespace mla
