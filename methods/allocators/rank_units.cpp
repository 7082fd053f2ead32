#include "methods/allocators/rank_units.h"

#include "core/base/error.h"

namespace mla {
namespace {

RankUnit unit_of(const SpectrumPart& part, std::size_t layer, std::size_t index) {
  RankUnit unit{.layer = layer, .part = index};
  const at::Tensor energies = part.energies.to(at::kDouble).contiguous();
  const auto count = static_cast<std::size_t>(energies.size(0));
  unit.energies.assign(energies.const_data_ptr<double>(), energies.const_data_ptr<double>() + count);
  for (double& energy : unit.energies) energy = std::max(energy, 0.0);  // an eigenvalue of 0 may come out below it
  unit.tail.assign(count + 1, 0.0);
  for (std::size_t r = count; r > 0; --r) unit.tail[r - 1] = unit.tail[r] + unit.energies[r - 1];
  return unit;
}

void bound(RankUnit& unit, const RankBounds& bounds, int64_t rank, const std::string& option) {
  const auto size = static_cast<int64_t>(unit.energies.size());
  unit.share = std::min(rank, size);
  if (rank > size && !bounds.cut) fail<ConfigError>("methods", "wanted a latent rank of at most ", size, ", got ", rank, " from ", option, "; lower it");
  unit.high = std::min(size, bounds.max.value_or(size)) / bounds.multiple * bounds.multiple;
  unit.low = (bounds.min + bounds.multiple - 1) / bounds.multiple * bounds.multiple;
  if (unit.low > unit.high)
    fail<ConfigError>("methods", "wanted a multiple of --rank-multiple ", bounds.multiple, " between --min-rank ", bounds.min,
                      " and ", std::min(size, bounds.max.value_or(size)), " (--max-rank, or the layer's own limit ", size, "), got none");
  if (unit.low > unit.share)
    fail<ConfigError>("methods", "wanted --min-rank of at most ", unit.share, ", the mean rank from ", option, ", got ", unit.low,
                      bounds.multiple > 1 ? " after rounding up to a multiple" : "");
}

class Padded : public Allocator {
 public:
  explicit Padded(std::unique_ptr<Allocator> inner) : inner_(std::move(inner)) {}
  StatKinds needs() const override { return inner_->needs(); }
  std::vector<LayerRanks> allocate(const std::vector<Spectrum>& spectra, const CalibrationStats& stats) const override {
    std::vector<LayerRanks> ranks = inner_->allocate(spectra, stats);
    for (std::size_t part = 0; part < ranks.front().size(); ++part) {
      int64_t largest = 0;
      for (const LayerRanks& layer : ranks) largest = std::max(largest, layer[part]);
      for (std::size_t layer = 0; layer < ranks.size(); ++layer)
        ranks[layer][part] = std::min(largest, spectra[layer].parts[part].down.size(0));
    }
    return ranks;
  }

 private:
  std::unique_ptr<Allocator> inner_;
};

}  // namespace

std::vector<RankUnit> rank_units(const std::vector<Spectrum>& spectra, const RankBounds& bounds, int64_t rank, const std::string& option) {
  std::vector<RankUnit> units;
  for (std::size_t layer = 0; layer < spectra.size(); ++layer)
    for (std::size_t part = 0; part < spectra[layer].parts.size(); ++part) {
      if (!spectra[layer].parts[part].compressed) continue;
      units.push_back(unit_of(spectra[layer].parts[part], layer, part));
      bound(units.back(), bounds, rank, option);
    }
  return units;
}

std::vector<LayerRanks> layer_ranks(const std::vector<Spectrum>& spectra, const std::vector<RankUnit>& units, const std::vector<int64_t>& ranks) {
  std::vector<LayerRanks> result;
  for (const Spectrum& spectrum : spectra) {
    LayerRanks& layer = result.emplace_back();
    for (const SpectrumPart& part : spectrum.parts) layer.push_back(part.down.size(0));
  }
  for (std::size_t i = 0; i < units.size(); ++i) result[units[i].layer][units[i].part] = ranks[i];
  return result;
}

std::unique_ptr<Allocator> make_padded(std::unique_ptr<Allocator> inner) { return std::make_unique<Padded>(std::move(inner)); }

}  // namespace mla
