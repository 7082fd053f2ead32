#include "core/base/cache_limit.h"

#include <algorithm>
#include <vector>

namespace mla {

namespace fs = std::filesystem;

bool make_room(const fs::path& folder, uintmax_t needed, uintmax_t limit, fs::file_time_type in_use) {
  struct Old {
    fs::file_time_type used;
    uintmax_t size;
    fs::path path;
  };
  std::vector<Old> removable;
  uintmax_t total = needed, kept = needed;
  std::error_code error;
  for (fs::directory_iterator next(folder, error), end; !error && next != end; next.increment(error)) {
    std::error_code gone;
    const uintmax_t size = next->file_size(gone);
    if (gone) continue;
    const fs::file_time_type used = next->last_write_time(gone);
    if (gone) continue;
    total += size;
    if (used >= in_use) kept += size;
    else removable.push_back({used, size, next->path()});
  }
  if (kept > limit) return false;
  std::sort(removable.begin(), removable.end(), [](const Old& a, const Old& b) { return a.used != b.used ? a.used < b.used : a.path < b.path; });
  for (const Old& file : removable) {
    if (total <= limit) break;
    std::error_code gone;
    fs::remove(file.path, gone);
    total -= file.size;
  }
  return true;
}

}  // namespace mla
