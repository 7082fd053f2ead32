// The two machines that run the same operator tests: the kernels' emulation, and the card of this machine where there is one.
#pragma once
#include <cmath>
#include <vector>

#include "core/base/error.h"
#include "core/cuda/plug.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/splitmix64.h"

namespace mla::test {

inline const gpu::Operators& emulated() {
  static const gpu::Operators operators(*mlaforge_cuda_table());
  return operators;
}

struct FoundCard {
  const gpu::CudaTable* table = nullptr;
  gpu::Card card{};
  std::string reason;
};
inline const FoundCard& found_card() {
  static const FoundCard found = [] {
    try {
      const gpu::CudaTable& table = gpu::open_module();
      return FoundCard{&table, gpu::open_card(table), {}};
    } catch (const CudaError& error) {
      return FoundCard{nullptr, {}, error.what()};
    }
  }();
  return found;
}
// Says why the test is skipped where there is no card or no module.
inline bool no_card() {
  if (found_card().table != nullptr) return false;
  skip(found_card().reason);
  return true;
}
inline gpu::Operators card_operators() { return gpu::Operators(*found_card().table); }

inline gpu::CardLimits limits(const gpu::Operators& operators) {
  gpu::Card card{};
  operators.table().card(0, &card);
  return gpu::limits_of(card);
}

// Values on the machine of some operators.
template <class T>
class OnCard {
 public:
  OnCard(const gpu::Operators& operators, std::vector<T> values) : memory_(operators.table(), values.size() * sizeof(T)), values_(std::move(values)) { memory_.write(values_.data()); }
  T* data() const { return static_cast<T*>(memory_.data()); }
  std::vector<T> read() const {
    std::vector<T> out(values_.size());
    memory_.read(out.data());
    return out;
  }

 private:
  gpu::CardMemory memory_;
  std::vector<T> values_;
};

class Draw {
 public:
  explicit Draw(uint64_t seed) : bits_(seed) {}
  double uniform(double low, double high) { return low + (high - low) * static_cast<double>(bits_.next() >> 11) / 9007199254740992.0; }
  int64_t below(int64_t n) { return static_cast<int64_t>(bits_.next() % static_cast<uint64_t>(n)); }

 private:
  SplitMix64 bits_;
};

// Arrays whose dtype is known at run time are kept as bytes.
using Bytes = std::vector<unsigned char>;

// max|difference| / max|reference|; a NaN in either alone is an infinite error.
inline double relative_error(const std::vector<double>& got, const std::vector<double>& wanted) {
  double largest = 0, difference = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (std::isnan(got[i]) != std::isnan(wanted[i])) return INFINITY;
    if (std::isnan(wanted[i])) continue;
    largest = std::max(largest, std::abs(wanted[i]));
    difference = std::max(difference, std::abs(got[i] - wanted[i]));
  }
  return largest > 0 ? difference / largest : difference;
}

}  // namespace mla::test
