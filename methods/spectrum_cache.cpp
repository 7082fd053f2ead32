#include "methods/spectrum_cache.h"

#include "core/calibration/tensor_cache.h"

namespace mla {
namespace {

// Raised when a factorizer's result changes for the same options.
constexpr const char* kVersion = "spectrum 1\n";
// Rows of position-free keys and values from which a decomposition gets a file. Below, a layer takes less than 0.1 s in all
// (docs/performance.md), which is not worth a file that is 8 bytes times (D + KV rows) times rows large.
constexpr int64_t kWorthAFile = 512;

NamedTensors flatten(const Spectrum& spectrum) {
  NamedTensors flat;
  for (std::size_t i = 0; i < spectrum.parts.size(); ++i) {
    const SpectrumPart& part = spectrum.parts[i];
    const std::string prefix = std::to_string(i) + '.';
    flat.emplace_back(prefix + "down", part.down);
    flat.emplace_back(prefix + "up", part.up);
    flat.emplace_back(prefix + "energies", part.energies);
    flat.emplace_back(prefix + "compressed, hadamard", at::tensor({int64_t{part.compressed}, int64_t{part.hadamard}}, at::kLong));
  }
  return flat;
}

Spectrum unflatten(const NamedTensors& flat) {
  Spectrum spectrum;
  for (std::size_t i = 0;; ++i) {
    const std::string prefix = std::to_string(i) + '.';
    const at::Tensor down = find_tensor(flat, prefix + "down");
    if (!down.defined()) return spectrum;
    const at::Tensor flags = find_tensor(flat, prefix + "compressed, hadamard");
    spectrum.parts.push_back({down, find_tensor(flat, prefix + "up"), find_tensor(flat, prefix + "energies"), flags[0].item<int64_t>() != 0,
                              flags[1].item<int64_t>() != 0});
  }
}

}  // namespace

Spectrum cached_spectrum(const std::string& key, const SplitLayer& split, const std::function<Spectrum()>& factorize) {
  if (split.k_free.size(0) + split.v.size(0) < kWorthAFile) return factorize();
  return unflatten(cached_tensors("spectra", kVersion + key, [&] { return flatten(factorize()); }));
}

}  // namespace mla
