// A cache root of the test's own.
#pragma once
#include "tests/support/paths.h"

namespace mla::test {

// Sets MLAFORGE_CACHE for its lifetime.
class CacheFolder {
 public:
  CacheFolder() : before_(environment("MLAFORGE_CACHE")) { setenv("MLAFORGE_CACHE", folder_.path().c_str(), 1); }
  ~CacheFolder() {
    if (before_.empty()) unsetenv("MLAFORGE_CACHE");
    else setenv("MLAFORGE_CACHE", before_.c_str(), 1);
  }
  const fs::path& path() const { return folder_.path(); }

 private:
  std::string before_;
  TemporaryFolder folder_;
};

}  // namespace mla::test
