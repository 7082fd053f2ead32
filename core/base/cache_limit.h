// A cache folder under a limit: what was used last longest ago leaves first.
#pragma once
#include <cstdint>
#include <filesystem>

namespace mla {

// Removes files of `folder`, by age of their modification time, until `needed` more bytes fit below `limit`. Files modified at or after
// `in_use` stay: a scan longer than the limit would else throw out its own beginning and never find anything again. False where the
// rest does not fit; then nothing is removed. Files that other processes remove meanwhile are no error.
bool make_room(const std::filesystem::path& folder, uintmax_t needed, uintmax_t limit, std::filesystem::file_time_type in_use);

}  // namespace mla
