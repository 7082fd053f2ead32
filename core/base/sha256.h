#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace mla {
// 64 lower-case hex digits.
std::string sha256_hex(std::string_view bytes);
// Hash of a file's content, remembered in `<cache root>/hashes.json` by inode, size and modification time.
// Throws CheckpointError when the file cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);
// Hash of a file, or of a folder: over the sorted names and hashes of its regular files.
std::string sha256_of_path(const std::filesystem::path& path);
}  // namespace mla
