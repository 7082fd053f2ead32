#include "core/cuda/emulation/async_proxy.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace mla::gpu::emulation {

void AsyncProxy::reset(const unsigned char* shared, std::size_t bytes, unsigned threads) {
  shared_ = shared;
  seen_.assign(bytes, 0xff);  // NaNs of either 16-bit type
  unfenced_.assign(threads, {});
}

void AsyncProxy::may_write(const void* at, std::size_t size) {
  if (holds(at)) std::memset(seen_.data() + (static_cast<const unsigned char*>(at) - shared_), 0xff, size);
}

void AsyncProxy::wrote(unsigned thread, const void* at, std::size_t size) {
  if (!holds(at)) return;
  may_write(at, size);
  unfenced_[thread].push_back({static_cast<std::size_t>(static_cast<const unsigned char*>(at) - shared_), size});
}

void AsyncProxy::fence(unsigned thread) {
  for (const Range& range : unfenced_[thread]) std::memcpy(seen_.data() + range.first, shared_ + range.first, range.size);
  unfenced_[thread].clear();
}

uint16_t AsyncProxy::value(uint32_t address) const {
  const std::size_t at = static_cast<std::size_t>(address) - kFirstAddress;
  if (address < kFirstAddress || at + 2 > seen_.size()) throw std::logic_error("[emulation] a product reads outside of the block's shared memory");
  uint16_t bits;
  std::memcpy(&bits, seen_.data() + at, sizeof bits);
  return bits;
}

MatrixDescriptor::MatrixDescriptor(uint64_t bits) {
  const auto field = [&](int low) { return static_cast<uint32_t>(bits >> low & 0x3fff) << 4; };
  start = field(0);
  leading = field(16);
  stride = field(32);
  if ((bits >> 49 & 7) != 0) throw std::logic_error("[emulation] a matrix base offset other than 0 is not modelled");
  constexpr int kChunks[] = {1, 8, 4, 2};
  chunks = kChunks[bits >> 62];
}

uint32_t MatrixDescriptor::address(bool k_major, int mn, int k) const {
  const auto row = static_cast<uint32_t>(mn), column = static_cast<uint32_t>(k), width = static_cast<uint32_t>(chunks);
  uint32_t offset;
  if (k_major) offset = row % 8 * width * 16 + row / 8 * stride + column / 8 * (chunks == 1 ? leading : 16) + column % 8 * 2;
  else if (chunks == 1) offset = row % 8 * 2 + row / 8 * stride + column % 8 * 16 + column / 8 * leading;
  else offset = row % 8 * 2 + row / 8 % width * 16 + row / 8 / width * leading + column % 8 * width * 16 + column / 8 * stride;
  const uint32_t at = start + offset;
  return at ^ (at >> 7 & (width - 1)) << 4;  // Swizzle<log2(chunks), 4, 3> of the byte address
}

}  // namespace mla::gpu::emulation
