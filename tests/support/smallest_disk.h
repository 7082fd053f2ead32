// A disk that is too small.
#pragma once
#include <sys/resource.h>

#include <csignal>

namespace mla::test {

// While it lives, no file of this process grows beyond `bytes`: writing on fails as on a full disk.
class SmallestDisk {
 public:
  explicit SmallestDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit less{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &less);
  }
  ~SmallestDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

}  // namespace mla::test
