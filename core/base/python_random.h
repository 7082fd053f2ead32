// The numbers of CPython's random.Random, bit for bit: evaluation programs draw their few-shot examples from it.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace mla {

// MT19937 (Matsumoto and Nishimura 1998), seeded as Random(int) seeds it. Draws are sequential: each call moves the state, so
// the order of calls is part of the result. Checked against CPython 3.11.
class PythonRandom {
 public:
  explicit PythonRandom(uint64_t seed);  // Python takes the absolute value of a negative seed
  double random();                       // [0, 1), 53 bits
  uint64_t getrandbits(int bits);        // 1 <= bits <= 64
  uint64_t below(uint64_t n);            // _randbelow and randrange(n): uniform in [0, n), n > 0
  // sample(range(n), k): k distinct indices. Throws ConfigError when k > n.
  std::vector<std::size_t> sample(std::size_t n, std::size_t k);
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i-- > 1;) {
      const std::size_t j = below(i + 1);
      std::swap(items[i], items[j]);
    }
  }

 private:
  uint32_t next();
  void refill();

  static constexpr std::size_t kWords = 624;
  std::array<uint32_t, kWords> state_{};
  std::size_t used_ = kWords;
};

}  // namespace mla
