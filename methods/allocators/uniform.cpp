#include "methods/allocators/uniform.h"

#include "core/base/error.h"

namespace mla {
namespace {

class Uniform : public Allocator {
 public:
  Uniform(int64_t rank, std::string option) : rank_(rank), option_(std::move(option)) {}
  std::vector<int64_t> allocate(const std::vector<Spectrum>& spectra) const override {
    std::vector<int64_t> ranks;
    for (const Spectrum& spectrum : spectra) {
      const int64_t full = spectrum.full_rank();
      if (full > 0 && rank_ > full)
        fail<ConfigError>("methods", "wanted a latent rank of at most ", full, ", got ", rank_, " from ", option_, "; lower it");
      ranks.push_back(full > 0 ? rank_ : 0);
    }
    return ranks;
  }

 private:
  int64_t rank_;
  std::string option_;
};

}  // namespace

std::unique_ptr<Allocator> make_uniform(int64_t rank, std::string option) { return std::make_unique<Uniform>(rank, std::move(option)); }

}  // namespace mla
