// Small binary files for tests of readers.
#pragma once
#include <cstring>
#include <fstream>
#include <string>

#include "tests/support/paths.h"

namespace mla::test {

// Little-endian image of a number.
template <class T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace mla::test
