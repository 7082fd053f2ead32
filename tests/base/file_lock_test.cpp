#include "core/base/file_lock.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "core/base/error.h"
#include "core/base/process.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

TEST_CASE("a second holder of a file lock waits for the first, and the file goes with the last", "[base][lock]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "deeper" / "key.lock";
  std::atomic<bool> second_held = false;
  std::thread second;
  {
    const FileLock first(path, "waiting");
    CHECK(first.held());
    CHECK_FALSE(first.waited());
    second = std::thread([&] {
      const FileLock lock(path, "waiting");
      second_held = lock.held() && lock.waited();
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    CHECK_FALSE(second_held);
  }
  second.join();
  CHECK(second_held);
  CHECK_FALSE(fs::exists(path));
}

TEST_CASE("a lock that cannot be made holds nothing and is no error", "[base][lock]") {
  const FileLock lock("/proc/no such folder/key.lock", "waiting");
  CHECK_FALSE(lock.held());
}
