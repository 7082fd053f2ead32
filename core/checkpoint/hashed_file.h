// A file that appears whole or not at all, and the hash of what it holds.
#pragma once
#include <cstddef>
#include <filesystem>
#include <string>

#include "core/base/files.h"
#include "core/base/running_hash.h"

namespace mla {

class HashedFile {
 public:
  explicit HashedFile(const std::filesystem::path& path) : file_(path) {}
  void write(const void* data, std::size_t size) {
    file_.write(data, size);
    hash_.add(data, size);
  }
  // Puts the file in place. Returns sha256_hex of its bytes; nothing is written after it.
  std::string commit() {
    file_.commit();
    return hash_.hex();
  }

 private:
  AtomicFile file_;
  RunningHash hash_;
};

}  // namespace mla
