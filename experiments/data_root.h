// Where texts lie: paths, and the names of data/manifest.json.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace mla {

// `given` (--data-root), else $MLAFORGE_DATA, else ../shared/data beside the current or the source folder; empty when none is there.
std::filesystem::path data_root(const std::string& given);

enum class TextRole { corpus, calibration };

struct Text {
  std::filesystem::path path;
  std::string name;              // for tables: the manifest's name, else the file's stem
  std::optional<std::string> warning;  // content differs from the manifest's sha256
  std::string rule;                    // of RowOptions; of a corpus that of joined_rows, or empty for a text as it stands
};

// A file path or a name of the manifest. wikitext2-tok means its test half as corpus and its valid half for calibration.
// Throws CheckpointError when it is missing, saying where it was looked for and how to get it.
Text find_text(const std::string& name, TextRole role, const std::string& root);
std::vector<std::string> text_names();

// A GGUF file or a model folder that exists. Throws CheckpointError.
std::filesystem::path find_model(const std::string& name);

// Throws StoreError when a database at `path` could not be written; leaves nothing behind.
void require_writable_store(const std::filesystem::path& path);
// Throws ConfigError when `path` exists and is not an empty folder, ResourceError when its parent cannot be written.
void require_new_directory(const std::filesystem::path& path);

const char* manifest_text();  // JSON, compiled in

}  // namespace mla
