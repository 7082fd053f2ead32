#include "core/base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "core/base/process.h"
#include "core/base/progress.h"

namespace mla {

FileLock::FileLock(const std::filesystem::path& path, const char* waiting) : path_(path) {
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  while (fd_ >= 0 && flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      close_file();
      return;
    }
    if (!waited_) status("Waiting", waiting);
    waited_ = true;
    if (interrupted()) {
      close_file();
      throw_if_interrupted();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

FileLock::~FileLock() {
  if (fd_ >= 0) unlink(path_.c_str());
  close_file();
}

void FileLock::close_file() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

}  // namespace mla
