// Work in pieces that become smaller when memory runs out.
#pragma once
#include <cstddef>
#include <exception>
#include <functional>
#include <string>

namespace mla {

// std::bad_alloc, and what ATen throws for want of memory on the CPU or a device.
bool is_out_of_memory(const std::exception& error);

// Remembers over many batches how much fits, so that memory runs out once and not in every batch.
class Halving {
 public:
  explicit Halving(std::string what) : what_(std::move(what)) {}  // "sequences", for the warning
  // Calls work(first, end) over 0 .. count-1 in order, at most as many at a time as have fitted so far. When `work` is out of memory the
  // same piece comes again with half as many, which is warned of; with one alone the exception goes on. `work` must keep nothing of a
  // piece that failed.
  void run(std::size_t count, const std::function<void(std::size_t first, std::size_t end)>& work);

 private:
  std::string what_;
  std::size_t fits_ = 0;  // 0: no limit met yet
};

}  // namespace mla
