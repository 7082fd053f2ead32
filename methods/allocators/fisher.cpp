#include "methods/allocators/fisher.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/error.h"

namespace mla {
namespace {

// Mean over the key and value heads that the part rebuilds.
double weight_of(const Spectrum& spectrum, const SpectrumPart& part, const GradientMoments& gradients) {
  const int64_t height = part.up.size(0) / spectrum.groups;
  const at::Tensor up = part.up.view({spectrum.groups, height, part.up.size(1)}).abs();
  double sum = 0;
  int64_t heads = 0;
  for (int64_t g = 0; g < spectrum.groups; ++g)
    for (const bool keys : {true, false}) {
      const at::Tensor rows = keys ? up[g].narrow(0, 0, height - spectrum.v_dim) : up[g].narrow(0, height - spectrum.v_dim, spectrum.v_dim);
      if (rows.numel() == 0 || rows.max().item<double>() == 0) continue;
      sum += (keys ? gradients.key_fisher : gradients.value_fisher)[g].item<double>();
      ++heads;
    }
  return heads == 0 ? 0 : sum / static_cast<double>(heads);
}

class Fisher : public Allocator {
 public:
  Fisher(int64_t rank, std::string option, const RankBounds& bounds) : rank_(rank), option_(std::move(option)), bounds_(bounds) {}
  StatKinds needs() const override { return {.gradient_moments = true}; }

  std::vector<LayerRanks> allocate(const std::vector<Spectrum>& spectra, const CalibrationStats& stats) const override {
    const std::vector<RankUnit> units = rank_units(spectra, bounds_, rank_, option_);
    std::vector<double> weights;
    for (const RankUnit& unit : units) {
      const GradientMoments& gradients = stats.at(unit.layer).gradients;
      if (!gradients.key_fisher.defined()) fail<ConfigError>("methods", "wanted gradient moments for the Fisher ranks of layer ", unit.layer, ", got none");
      weights.push_back(weight_of(spectra[unit.layer], spectra[unit.layer].parts[unit.part], gradients));
    }
    return layer_ranks(spectra, units, proportional(units, weights));
  }

 private:
  // rank = clip(scale * weight): the largest scale whose sum stays within the budget, then the largest remainders.
  std::vector<int64_t> proportional(const std::vector<RankUnit>& units, const std::vector<double>& weights) const {
    int64_t budget = 0;
    for (const RankUnit& unit : units) budget += unit.share;
    const auto exact = [&](double scale, std::size_t i) {
      return std::clamp(scale * weights[i], static_cast<double>(units[i].low), static_cast<double>(units[i].high));
    };
    const auto sum = [&](double scale) {
      double total = 0;
      for (std::size_t i = 0; i < units.size(); ++i) total += exact(scale, i);
      return total;
    };
    double low = 0, high = 1;
    while (sum(high) < static_cast<double>(budget) && high < 1e300) high *= 2;  // ends at every part's largest rank
    for (int step = 0; step < 2000 && high - low > 1e-14 * high; ++step) {
      const double middle = (low + high) / 2;
      (sum(middle) > static_cast<double>(budget) ? high : low) = middle;
    }
    std::vector<int64_t> ranks;
    std::vector<double> remainders;
    const auto step = static_cast<double>(bounds_.multiple);
    for (std::size_t i = 0; i < units.size(); ++i) {
      // 1e-9: a share that is a multiple in exact arithmetic is not to lose a whole step to rounding
      const double share = exact(low, i), steps = std::floor(share / step + 1e-9);
      ranks.push_back(static_cast<int64_t>(steps) * bounds_.multiple);
      remainders.push_back(share - steps * step);
    }
    std::vector<std::size_t> order(units.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return remainders[a] > remainders[b]; });
    int64_t left = budget - std::accumulate(ranks.begin(), ranks.end(), int64_t{0});
    for (const std::size_t i : order) {
      if (left < bounds_.multiple || ranks[i] + bounds_.multiple > units[i].high) continue;
      ranks[i] += bounds_.multiple;
      left -= bounds_.multiple;
    }
    return ranks;
  }

  int64_t rank_;
  std::string option_;
  RankBounds bounds_;
};

}  // namespace

std::unique_ptr<Allocator> make_fisher(int64_t rank, const std::string& option, const RankBounds& bounds) {
  return std::make_unique<Fisher>(rank, option, bounds);
}

}  // namespace mla
