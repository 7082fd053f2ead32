#include "core/checkpoint/tensor_scratch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/error.h"

namespace mla {
namespace {

[[noreturn]] void scratch_failed(const std::filesystem::path& folder, const char* what) {
  fail<ResourceError>("scratch", "cannot ", what, " a scratch file in ", folder.string(), ": ", std::strerror(errno),
                      "; free space there, or choose --out on another disk");
}

// Calls move(data, size, offset) until all bytes have gone; false with errno set where it fails.
template <class Pointer, class Move>
bool move_all(Pointer data, std::size_t size, int64_t offset, const Move& move) {
  while (size > 0) {
    const ssize_t moved = move(data, size, offset);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) return false;
    data += moved;
    size -= static_cast<std::size_t>(moved);
    offset += moved;
  }
  return true;
}

}  // namespace

TensorScratch::TensorScratch(const std::filesystem::path& folder) : folder_(folder.empty() ? "." : folder) {
  std::string name = (folder_ / ".mlaforge-scratch-XXXXXX").string();
  fd_ = mkostemp(name.data(), O_CLOEXEC);
  if (fd_ < 0) scratch_failed(folder_, "make");
  unlink(name.c_str());
}

TensorScratch::~TensorScratch() { close(fd_); }

std::size_t TensorScratch::put(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.to(at::kCPU).contiguous();
  const auto write = [this](const char* data, std::size_t size, int64_t offset) { return pwrite(fd_, data, size, offset); };
  if (!move_all(static_cast<const char*>(plain.const_data_ptr()), plain.nbytes(), end_, write)) scratch_failed(folder_, "write");
  places_.push_back({end_, plain.sizes().vec(), plain.scalar_type()});
  end_ += static_cast<int64_t>(plain.nbytes());
  return places_.size() - 1;
}

at::Tensor TensorScratch::get(std::size_t number) const {
  const Place& place = places_.at(number);
  at::Tensor tensor = at::empty(place.shape, place.type);
  const auto read = [this](char* data, std::size_t size, int64_t offset) { return pread(fd_, data, size, offset); };
  if (!move_all(static_cast<char*>(tensor.data_ptr()), tensor.nbytes(), place.offset, read)) scratch_failed(folder_, "read");
  return tensor;
}

}  // namespace mla
