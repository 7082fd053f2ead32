#include "methods/allocators/uniform.h"

#include "core/base/error.h"

namespace mla {
namespace {

class Uniform : public Allocator {
 public:
  Uniform(int64_t rank, std::string option, bool cut) : rank_(rank), option_(std::move(option)), cut_(cut) {}
  std::vector<LayerRanks> allocate(const std::vector<Spectrum>& spectra, const CalibrationStats&) const override {
    std::vector<LayerRanks> ranks;
    for (const Spectrum& spectrum : spectra) {
      const int64_t full = spectrum.full_rank();
      if (!cut_ && full > 0 && rank_ > full)
        fail<ConfigError>("methods", "wanted a latent rank of at most ", full, ", got ", rank_, " from ", option_, "; lower it");
      LayerRanks layer;
      for (const SpectrumPart& part : spectrum.parts) layer.push_back(part.compressed ? std::min(rank_, part.down.size(0)) : part.down.size(0));
      ranks.push_back(std::move(layer));
    }
    return ranks;
  }

 private:
  int64_t rank_;
  std::string option_;
  bool cut_;
};

}  // namespace

std::unique_ptr<Allocator> make_uniform(int64_t rank, std::string option, bool cut) {
  return std::make_unique<Uniform>(rank, std::move(option), cut);
}

}  // namespace mla
