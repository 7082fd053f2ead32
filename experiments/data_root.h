// Where the named texts lie.
#pragma once
#include <filesystem>
#include <string>

namespace mla {

// `given` (--data-root), else $MLAFORGE_DATA, else ../shared/data beside the current or the source directory; empty when none is there.
std::filesystem::path data_root(const std::string& given);

enum class TextRole { corpus, calibration };
// A file path, or "wikitext2-tok": wikitext-2/test.txt to evaluate, wikitext-2/valid.txt to calibrate.
// Throws CheckpointError when the file is missing, ConfigError when a name needs a data root and there is none.
std::filesystem::path find_text(const std::string& name, TextRole role, const std::string& root);

// A GGUF file or a model directory that exists. Throws CheckpointError.
std::filesystem::path find_model(const std::string& name);

// Throws StoreError when a database at `path` could not be written; leaves nothing behind.
void require_writable_store(const std::filesystem::path& path);
// Throws ConfigError when `path` exists and is not an empty folder, ResourceError when its parent cannot be written.
void require_new_directory(const std::filesystem::path& path);

}  // namespace mla
