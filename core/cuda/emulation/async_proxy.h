// Shared memory as wgmma.mma_async sees it. What threads and cp.async write belongs to the generic proxy; products read through the async
// proxy, which knows a write only after a fence.proxy.async of the thread that wrote. From the moment when a write may happen until that
// fence products read NaNs there, so a missing fence, wait or barrier on either side of a write shows.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mla::gpu::emulation {

class AsyncProxy {
 public:
  static constexpr uint32_t kFirstAddress = 1024;  // of the block's shared memory, as on compute capability 9.0: products see no address 0

  void reset(const unsigned char* shared, std::size_t bytes, unsigned threads);
  void may_write(const void* at, std::size_t size);  // of shared memory; other places are ignored
  void wrote(unsigned thread, const void* at, std::size_t size);
  void fence(unsigned thread);

  uint32_t address(const void* at) const { return kFirstAddress + static_cast<uint32_t>(static_cast<const unsigned char*>(at) - shared_); }
  // Throws std::logic_error outside of the block's shared memory.
  uint16_t value(uint32_t address) const;

 private:
  struct Range {
    std::size_t first, size;
  };
  bool holds(const void* at) const { return at >= shared_ && at < shared_ + seen_.size(); }

  const unsigned char* shared_ = nullptr;
  std::vector<unsigned char> seen_;
  std::vector<std::vector<Range>> unfenced_;  // of each thread
};

// A 64-bit matrix descriptor, decoded by the manual's formulas ("Matrix Descriptor Format", "Canonical Layouts").
struct MatrixDescriptor {
  uint32_t start, leading, stride;  // bytes
  int chunks;                       // of 16 bytes that a swizzled row has: 1 (none), 2, 4, 8

  // Throws std::logic_error for a base offset other than 0, which is not modelled.
  explicit MatrixDescriptor(uint64_t bits);
  // Of 16-bit element (mn, k): row mn of A or column mn of B, 16 k of an instruction.
  uint32_t address(bool k_major, int mn, int k) const;
};

}  // namespace mla::gpu::emulation
