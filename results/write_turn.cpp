#include "results/write_turn.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <thread>

#include "core/base/files.h"
#include "core/base/process.h"

namespace mla {
namespace {

namespace fs = std::filesystem;

constexpr int kLongestPollUs = 4000;

}  // namespace

WriteTurn::WriteTurn(const fs::path& database) {
  struct stat status {};
  std::error_code error;
  if (stat(database.c_str(), &status) != 0) return;
  const fs::path folder = cache_root() / "turns";
  fs::create_directories(folder, error);
  if (error) return;
  fd_ = open((folder / (std::to_string(status.st_dev) + '-' + std::to_string(status.st_ino))).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

WriteTurn::~WriteTurn() {
  if (fd_ >= 0) close(fd_);
}

// Polls at random moments: a wait in the kernel wakes all, and then the one that has just given the turn back is the quickest.
void WriteTurn::take(double seconds) {
  thread_local std::minstd_rand random(std::random_device{}());
  const double until = wall_seconds() + seconds;
  while (fd_ >= 0 && flock(fd_, LOCK_EX | LOCK_NB) != 0 && wall_seconds() < until)
    std::this_thread::sleep_for(std::chrono::microseconds(1 + random() % kLongestPollUs));
}

void WriteTurn::give() {
  if (fd_ >= 0) flock(fd_, LOCK_UN);
}

}  // namespace mla
