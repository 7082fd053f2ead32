// Is a run database whole? Reads only, and answers where an ordinary opening would throw.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mla {

struct StoreHealth {
  int64_t schema = 0, runs = 0, running = 0, metrics = 0;
  uintmax_t bytes = 0;
  bool journal = false;               // a rollback journal lies beside it: a writer is at work, or was killed
  std::vector<std::string> problems;  // what SQLite's integrity_check and foreign_key_check say, or why it cannot be read; empty: whole
};

// Throws StoreError only where there is no file. Reading every page takes about a second per 200 MB.
StoreHealth check_store(const std::filesystem::path& path);

}  // namespace mla
