#include "eval/halving.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <new>
#include <string_view>

#include "core/base/progress.h"

namespace mla {

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr || dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  // The CPU allocator has no type of its own: an enforce that failed, with its name in the message.
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  return torch != nullptr && std::string_view(torch->what_without_backtrace()).find("DefaultCPUAllocator") != std::string_view::npos;
}

void Halving::run(std::size_t count, const std::function<void(std::size_t, std::size_t)>& work) {
  for (std::size_t first = 0; first < count;) {
    const std::size_t size = std::min(fits_ > 0 ? fits_ : count, count - first);
    try {
      work(first, first + size);
      first += size;
    } catch (const std::exception& error) {
      if (size == 1 || !is_out_of_memory(error)) throw;
      fits_ = size / 2;
      warn("out of memory: " + std::to_string(fits_) + " " + what_ + " at a time");
    }
  }
}

}  // namespace mla
