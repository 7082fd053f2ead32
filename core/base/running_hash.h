// SHA-256 of bytes that come one after another.
#pragma once
#include <cstddef>
#include <memory>
#include <string>

namespace mla {

class RunningHash {
 public:
  RunningHash();
  ~RunningHash();
  void add(const void* data, std::size_t size);
  std::string hex();  // of all of them, as sha256_hex gives it; nothing is added after it

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mla
