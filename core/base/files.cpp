#include "core/base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "core/base/error.h"

namespace mla {

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail<CheckpointError>("file", "cannot open ", path.string(), ": ", std::strerror(errno), "; check the path");
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    fail<CheckpointError>("file", "wanted a regular file, got ", path.string());
  }
  size_ = static_cast<std::size_t>(info.st_size);
  void* mapped = size_ == 0 ? nullptr : mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
  const int reason = errno;
  close(fd);
  if (mapped == MAP_FAILED) fail<CheckpointError>("file", "cannot map ", path.string(), ": ", std::strerror(reason));
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : path_(std::move(other.path_)), data_(other.data_), size_(other.size_) {
  other.data_ = nullptr;
  other.size_ = 0;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::size_t offset, std::size_t size) const {
  const std::size_t page = 4096, begin = offset / page * page;
  if (data_ != nullptr && offset + size <= size_)
    madvise(const_cast<std::byte*>(data_) + begin, offset + size - begin, MADV_DONTNEED);
}

std::string read_text_file(const std::filesystem::path& path, std::size_t max_bytes) {
  const MappedFile file(path);
  if (file.bytes().size() > max_bytes)
    fail<CheckpointError>("file", "wanted at most ", max_bytes, " bytes in ", path.string(), ", got ", file.bytes().size());
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

namespace {
[[noreturn]] void write_failed(const std::filesystem::path& path, const char* what) {
  fail<ResourceError>("file", "cannot ", what, ' ', path.string(), ": ", std::strerror(errno),
                      "; check the folder's permissions and free space");
}
}  // namespace

AtomicFile::AtomicFile(std::filesystem::path target) : target_(std::move(target)) {
  std::string name = (target_.string() + ".tmpXXXXXX");
  fd_ = mkostemp(name.data(), O_CLOEXEC);
  if (fd_ < 0) write_failed(target_, "write");
  temporary_ = name;
  fchmod(fd_, 0644);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(fd_, next, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) write_failed(target_, "write");
    next += written;
    size -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  if (fsync(fd_) != 0) write_failed(target_, "flush");
  close(fd_);
  fd_ = -1;
  if (rename(temporary_.c_str(), target_.c_str()) != 0) write_failed(target_, "replace");
  temporary_.clear();
  const std::filesystem::path folder = target_.has_parent_path() ? target_.parent_path() : ".";
  if (const int dir = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); dir >= 0) {
    fsync(dir);
    close(dir);
  }
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

std::filesystem::path cache_root() {
  const auto env = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  std::filesystem::path root;
  if (!env("MLAFORGE_CACHE").empty()) root = env("MLAFORGE_CACHE");
  else if (!env("XDG_CACHE_HOME").empty()) root = std::filesystem::path(env("XDG_CACHE_HOME")) / "mlaforge";
  else root = std::filesystem::path(env("HOME").empty() ? "/tmp" : env("HOME")) / ".cache" / "mlaforge";
  std::error_code error;
  std::filesystem::create_directories(root, error);
  if (error)
    fail<ResourceError>("cache", "cannot create ", root.string(), ": ", error.message(), "; set MLAFORGE_CACHE to a writable folder");
  return root;
}

}  // namespace mla
