#include "methods/allocators/at_most.h"

namespace mla {
namespace {

class AtMost : public Allocator {
 public:
  explicit AtMost(int64_t rank) : rank_(rank) {}
  std::vector<LayerRanks> allocate(const std::vector<Spectrum>& spectra, const CalibrationStats&) const override {
    std::vector<LayerRanks> ranks;
    for (const Spectrum& spectrum : spectra) {
      LayerRanks layer;
      for (const SpectrumPart& part : spectrum.parts) layer.push_back(part.compressed ? std::min(rank_, part.down.size(0)) : part.down.size(0));
      ranks.push_back(std::move(layer));
    }
    return ranks;
  }

 private:
  int64_t rank_;
};

}  // namespace

std::unique_ptr<Allocator> make_at_most(int64_t rank) { return std::make_unique<AtMost>(rank); }

}  // namespace mla
