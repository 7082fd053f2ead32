#include "experiments/layer_samples.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace mla {
namespace {

constexpr std::size_t kLayers = 8, kDirections = 16;

// At most `count` of first..last, both among them: evenly spaced, or by equal factors.
std::set<std::size_t> spaced(std::size_t first, std::size_t last, std::size_t count, bool by_factors) {
  std::set<std::size_t> chosen;
  for (std::size_t i = 0; i < count; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(count - 1), from = static_cast<double>(first), to = static_cast<double>(last);
    chosen.insert(static_cast<std::size_t>(std::lround(by_factors ? from * std::pow(to / from, share) : from + share * (to - from))));
  }
  return chosen;
}

std::vector<double> values_of(const at::Tensor& energies) {
  const at::Tensor plain = energies.to(at::kCPU, at::kDouble).contiguous();
  std::vector<double> values(plain.const_data_ptr<double>(), plain.const_data_ptr<double>() + plain.numel());
  for (double& value : values) value = std::max(value, 0.0);  // an eigenvalue of 0 may come out below it
  return values;
}

double sum(const std::vector<double>& values, std::size_t count) {
  double total = 0;
  for (std::size_t i = std::min(count, values.size()); i > 0; --i) total += values[i - 1];  // smallest first
  return total;
}

void add_spectrum(std::size_t layer, std::size_t part, const std::vector<double>& energies, std::vector<SampleRow>& rows) {
  const double all = sum(energies, energies.size());
  if (all <= 0) return;
  for (const std::size_t direction : spaced(1, energies.size(), kDirections, true))
    rows.push_back({"mla", "spectrum/" + std::to_string(layer) + '/' + std::to_string(part), static_cast<int64_t>(direction), energies[direction - 1] / all});
}

}  // namespace

std::vector<SampleRow> layer_samples(const Conversion& conversion) {
  std::vector<SampleRow> rows;
  if (conversion.energies.empty()) return rows;
  const std::set<std::size_t> shown = spaced(0, conversion.energies.size() - 1, kLayers, false);
  for (std::size_t layer = 0; layer < conversion.energies.size(); ++layer) {
    double kept = 0, all = 0;
    int64_t rank = 0;
    bool decomposed = false;
    for (std::size_t part = 0; part < conversion.energies[layer].size(); ++part) {
      const at::Tensor& energies = conversion.energies[layer][part];
      if (!energies.defined() || energies.numel() == 0) continue;
      decomposed = true;
      const std::vector<double> values = values_of(energies);
      const int64_t part_rank = conversion.ranks.at(layer).at(part);
      rank += part_rank;
      kept += sum(values, static_cast<std::size_t>(part_rank));
      all += sum(values, values.size());
      if (shown.count(layer) != 0) add_spectrum(layer, part, values, rows);
    }
    if (!decomposed) continue;
    rows.push_back({"mla", "layer_rank", static_cast<int64_t>(layer), static_cast<double>(rank)});
    if (all > 0) rows.push_back({"mla", "kept_energy", static_cast<int64_t>(layer), kept / all});
  }
  return rows;
}

}  // namespace mla
