// numpy's default generator (PCG64 seeded by SeedSequence) as far as a permutation needs it: TransMLA's split of Alpaca is drawn
// with it. O'Neill, PCG (HMC-CS-2014-0905).
#include <array>
#include <bit>
#include <numeric>

#include "core/calibration/text_rows.h"

namespace mla {
namespace {

__extension__ typedef unsigned __int128 Wide;

uint32_t folded(uint32_t value) { return value ^ (value >> 16); }

// SeedSequence(seed).generate_state(4, uint64)
std::array<uint64_t, 4> seed_words(uint32_t seed) {
  uint32_t constant = 0x43b0d7e5;
  const auto hashed = [&](uint32_t value) {
    value ^= constant;
    constant *= 0x931e8875;
    return folded(value * constant);
  };
  std::array<uint32_t, 4> pool{};
  for (std::size_t i = 0; i < pool.size(); ++i) pool[i] = hashed(i == 0 ? seed : 0);
  for (std::size_t from = 0; from < pool.size(); ++from)
    for (std::size_t to = 0; to < pool.size(); ++to)
      if (from != to) pool[to] = folded(0xca01f9dd * pool[to] - 0x4973f715 * hashed(pool[from]));
  constant = 0x8b51f9dd;
  std::array<uint64_t, 4> words{};
  for (std::size_t i = 0; i < 8; ++i) {
    uint32_t value = pool[i % 4] ^ constant;
    constant *= 0x58f38ded;
    value = folded(value * constant);
    words[i / 2] |= static_cast<uint64_t>(value) << (32 * (i % 2));
  }
  return words;
}

class Pcg64 {
 public:
  explicit Pcg64(uint32_t seed) {
    const auto words = seed_words(seed);
    increment_ = (wide(words[2], words[3]) << 1) | 1;
    step();
    state_ += wide(words[0], words[1]);
    step();
  }
  // The halves of one 64-bit draw, low half first.
  uint32_t next() {
    if (has_half_) {
      has_half_ = false;
      return half_;
    }
    step();
    const auto mixed = static_cast<uint64_t>(state_ >> 64) ^ static_cast<uint64_t>(state_);
    const auto turn = static_cast<unsigned>(state_ >> 122);
    const uint64_t word = (mixed >> turn) | (mixed << ((64 - turn) & 63));
    has_half_ = true;
    half_ = static_cast<uint32_t>(word >> 32);
    return static_cast<uint32_t>(word);
  }
  uint32_t at_most(uint32_t most) {  // in [0, most], by masked rejection; most > 0
    const uint32_t mask = UINT32_MAX >> std::countl_zero(most);
    uint32_t drawn = next() & mask;
    while (drawn > most) drawn = next() & mask;
    return drawn;
  }

 private:
  static Wide wide(uint64_t high, uint64_t low) { return (static_cast<Wide>(high) << 64) | low; }
  void step() { state_ = state_ * wide(2549297995355413924ULL, 4865540595714422341ULL) + increment_; }
  Wide state_ = 0, increment_ = 0;
  bool has_half_ = false;
  uint32_t half_ = 0;
};

}  // namespace

std::vector<int64_t> numpy_permutation(int64_t n, uint32_t seed) {
  std::vector<int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  Pcg64 random(seed);
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[static_cast<std::size_t>(i)], order[random.at_most(static_cast<uint32_t>(i))]);
  return order;
}

}  // namespace mla
