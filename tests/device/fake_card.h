// A device that is none. Its tensors lie in memory that the host cannot reach and report a device of their own, so what would go wrong on
// a card goes wrong here: an operator that is given tensors of both throws, and a loop over a pointer to the device's memory ends in
// SIGSEGV. Its kernels are the CPU's, run over a second mapping of the same memory.
#pragma once
#include <ATen/ATen.h>

namespace mla::test {

at::Device fake_card();

struct CardBytes {
  std::size_t now = 0, peak = 0, allocations = 0;
};
// Of tensors on it; `reset` begins the peak and the count anew.
CardBytes fake_card_bytes(bool reset = false);

}  // namespace mla::test
