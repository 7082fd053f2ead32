#include "core/base/python_random.h"

#include <bit>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include "core/base/error.h"

namespace mla {
namespace {

// Above this population a set of drawn indices is smaller than a copy of the population, as CPython reckons it.
std::size_t set_size(std::size_t k) {
  const double empty = 21;
  if (k <= 5) return static_cast<std::size_t>(empty);
  return static_cast<std::size_t>(empty + std::pow(4.0, std::ceil(std::log(static_cast<double>(k) * 3) / std::log(4.0))));
}

}  // namespace

PythonRandom::PythonRandom(uint64_t seed) {
  state_[0] = 19650218u;
  for (std::size_t i = 1; i < kWords; ++i)
    state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + static_cast<uint32_t>(i);
  // init_by_array with the seed's 32-bit digits, lowest first; zero has one digit.
  const std::array<uint32_t, 2> key{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  const std::size_t digits = key[1] != 0 ? 2 : 1;
  std::size_t i = 1, j = 0;
  const auto advance = [&] {
    if (++i < kWords) return;
    state_[0] = state_[kWords - 1];
    i = 1;
  };
  for (std::size_t step = 0; step < kWords; ++step) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525u)) + key[j] + static_cast<uint32_t>(j);
    advance();
    j = (j + 1) % digits;
  }
  for (std::size_t step = 1; step < kWords; ++step) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941u)) - static_cast<uint32_t>(i);
    advance();
  }
  state_[0] = 0x80000000u;
}

void PythonRandom::refill() {
  constexpr std::size_t kShift = 397;
  for (std::size_t i = 0; i < kWords; ++i) {
    const uint32_t y = (state_[i] & 0x80000000u) | (state_[(i + 1) % kWords] & 0x7fffffffu);
    state_[i] = state_[(i + kShift) % kWords] ^ (y >> 1) ^ ((y & 1u) != 0 ? 0x9908b0dfu : 0u);
  }
  used_ = 0;
}

uint32_t PythonRandom::next() {
  if (used_ == kWords) refill();
  uint32_t y = state_[used_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

double PythonRandom::random() {
  const uint32_t high = next() >> 5, low = next() >> 6;
  return (high * 67108864.0 + low) * (1.0 / 9007199254740992.0);
}

uint64_t PythonRandom::getrandbits(int bits) {
  if (bits < 1 || bits > 64) fail<ConfigError>("python_random", "wanted 1 to 64 bits, got ", bits);
  if (bits <= 32) return next() >> (32 - bits);
  const uint64_t low = next();
  return low | static_cast<uint64_t>(next() >> (64 - bits)) << 32;
}

uint64_t PythonRandom::below(uint64_t n) {
  if (n == 0) fail<ConfigError>("python_random", "wanted a range with a number in it, got 0");
  const int bits = static_cast<int>(std::bit_width(n));
  uint64_t drawn = getrandbits(bits);
  while (drawn >= n) drawn = getrandbits(bits);
  return drawn;
}

std::vector<std::size_t> PythonRandom::sample(std::size_t n, std::size_t k) {
  if (k > n) fail<ConfigError>("python_random", "wanted a sample no larger than its population, got ", k, " of ", n);
  std::vector<std::size_t> drawn(k);
  if (n <= set_size(k)) {
    std::vector<std::size_t> pool(n);
    std::iota(pool.begin(), pool.end(), std::size_t{0});
    for (std::size_t i = 0; i < k; ++i) {
      const std::size_t j = below(n - i);
      drawn[i] = pool[j];
      pool[j] = pool[n - i - 1];
    }
    return drawn;
  }
  std::unordered_set<std::size_t> selected;
  for (std::size_t& index : drawn) {
    do index = below(n);
    while (!selected.insert(index).second);
  }
  return drawn;
}

}  // namespace mla
