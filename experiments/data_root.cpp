#include "experiments/data_root.h"

#include <unistd.h>

#include <cstdlib>

#include "core/base/error.h"
#include "experiments/build_info.h"

namespace mla {
namespace fs = std::filesystem;
namespace {

bool writable(const fs::path& path) { return access(path.c_str(), W_OK) == 0; }

fs::path parent_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

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

fs::path find_text(const std::string& name, TextRole role, const std::string& root_given) {
  std::error_code ignored;
  if (fs::is_regular_file(name, ignored)) return name;
  if (name != "wikitext2-tok")
    fail<CheckpointError>("data", "wanted a text file, got '", name,
                          "', which is not there; give a path, or the name wikitext2-tok");
  const fs::path root = data_root(root_given);
  if (root.empty()) fail<ConfigError>("data", "'", name, "' needs a data folder; set --data-root or MLAFORGE_DATA, or give a file");
  const fs::path text = root / "wikitext-2" / (role == TextRole::corpus ? "test.txt" : "valid.txt");
  if (!fs::is_regular_file(text, ignored))
    fail<CheckpointError>("data", "'", name, "' is not in the data folder: ", text.string(), " is missing; set --data-root or MLAFORGE_DATA");
  return text;
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
