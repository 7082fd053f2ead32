#include "methods/allocators/greedy.h"

#include <cmath>

namespace mla {
namespace {

class Greedy : public Allocator {
 public:
  explicit Greedy(const GreedyOptions& options) : options_(options) {}

  std::vector<LayerRanks> allocate(const std::vector<Spectrum>& spectra, const CalibrationStats&) const override {
    const std::vector<RankUnit> units = rank_units(spectra, options_.bounds, options_.rank, options_.option);
    std::vector<int64_t> ranks(units.size());
    std::size_t parts = 0;
    for (std::size_t i = 0; i < units.size(); ++i) {
      ranks[i] = units[i].low;
      parts = std::max(parts, units[i].part + 1);
    }
    const bool apart = options_.rule == RankRule::care || options_.rule == RankRule::care_code;
    for (std::size_t part = 0; part < (apart ? parts : 1); ++part) {
      std::vector<std::size_t> members;
      for (std::size_t i = 0; i < units.size(); ++i)
        if (!apart || units[i].part == part) members.push_back(i);
      spend(units, members, spectra.size(), ranks);
    }
    return layer_ranks(spectra, units, ranks);
  }

 private:
  // Raises the ranks of `members` until their budget or their bounds are reached.
  void spend(const std::vector<RankUnit>& units, const std::vector<std::size_t>& members, std::size_t layers, std::vector<int64_t>& ranks) const {
    const int64_t step = options_.bounds.multiple;
    int64_t left = 0;
    std::vector<double> scores(units.size());
    for (const std::size_t i : members) {
      left += units[i].share - ranks[i];
      scores[i] = score(units[i], ranks[i], layers);
    }
    while (left >= step) {
      const std::size_t* best = nullptr;
      for (const std::size_t& i : members)
        if (ranks[i] + step <= units[i].high && scores[i] >= 0 && (best == nullptr || scores[i] > scores[*best])) best = &i;
      if (best == nullptr) return;
      ranks[*best] += step;
      scores[*best] = score(units[*best], ranks[*best], layers);
      left -= step;
    }
  }

  // What the next step is worth; negative: nothing more is wanted.
  double score(const RankUnit& unit, int64_t rank, std::size_t layers) const {
    const auto from = static_cast<std::size_t>(rank), to = std::min(from + static_cast<std::size_t>(options_.bounds.multiple), unit.energies.size());
    double gain = 0;
    for (std::size_t m = from; m < to; ++m) gain += unit.energies[m];
    switch (options_.rule) {
      case RankRule::waterfill: return gain;
      case RankRule::energy: {
        const double dropped = unit.tail[0] > 0 ? unit.tail[from] / unit.tail[0] : 0;
        return options_.energy_ratio && dropped <= 1 - *options_.energy_ratio ? -1 : dropped;
      }
      case RankRule::care: return unit.tail[from] > 0 ? gain / unit.tail[from] : 0;
      case RankRule::care_code: break;
    }
    const double rest = unit.tail[from] - unit.tail[static_cast<std::size_t>(unit.high)], count = static_cast<double>(layers);
    const double horizon = std::sqrt((count - static_cast<double>(unit.layer)) / ((count + 1) / 2));
    const double cost = std::sqrt(static_cast<double>(rank) / static_cast<double>(unit.low));
    return rest > 0 ? gain / rest * horizon / cost : 0;
  }

  GreedyOptions options_;
};

}  // namespace

std::unique_ptr<Allocator> make_greedy(const GreedyOptions& options) { return std::make_unique<Greedy>(options); }

}  // namespace mla
