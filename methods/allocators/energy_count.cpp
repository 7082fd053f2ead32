#include "methods/allocators/energy_count.h"

namespace mla {
namespace {

class EnergyCount : public Allocator {
 public:
  EnergyCount(double ratio, int64_t multiple) : ratio_(ratio), multiple_(multiple) {}
  std::vector<LayerRanks> allocate(const std::vector<Spectrum>& spectra, const CalibrationStats&) const override {
    std::vector<LayerRanks> ranks;
    for (const Spectrum& spectrum : spectra) {
      LayerRanks layer;
      for (const SpectrumPart& part : spectrum.parts) layer.push_back(part.compressed ? rank_of(part) : part.down.size(0));
      ranks.push_back(std::move(layer));
    }
    return ranks;
  }

 private:
  int64_t rank_of(const SpectrumPart& part) const {
    const at::Tensor sums = part.energies.cumsum(0);
    const double whole = sums[-1].item<double>();
    const int64_t below = whole > 0 ? (sums / whole).le(ratio_).sum().item<int64_t>() : 0;
    const int64_t rounded = (std::max<int64_t>(1, below) + multiple_ - 1) / multiple_ * multiple_;
    return std::min(rounded, part.down.size(0));
  }
  double ratio_;
  int64_t multiple_;
};

}  // namespace

std::unique_ptr<Allocator> make_energy_count(double ratio, int64_t multiple) { return std::make_unique<EnergyCount>(ratio, multiple); }

}  // namespace mla
