// What allocators share: the compressed parts of all layers as units that take ranks within bounds, and the way back.
#pragma once
#include "methods/parts.h"

namespace mla {

struct RankBounds {
  int64_t multiple = 1;        // ranks are multiples of it
  int64_t min = 1;             // rounded up to a multiple
  std::optional<int64_t> max;  // rounded down, as the part's own size is
  bool cut = false;            // a part that admits less than the mean gets what it admits (--cache-values), else it is refused
};

struct RankUnit {
  std::size_t layer = 0, part = 0;
  std::vector<double> energies;  // [R] descending
  std::vector<double> tail;      // [R+1] tail[r] = what rank r drops
  int64_t low = 0, high = 0;
  int64_t share = 0;  // of the budget: the mean rank, or what the part admits
};

// The compressed parts, layer by layer. `rank` is the mean that the budget grants each of them and `option` names it in errors:
// ConfigError when a part admits less (unless cut), or when the bounds leave no rank or want more than the budget.
std::vector<RankUnit> rank_units(const std::vector<Spectrum>& spectra, const RankBounds& bounds, int64_t rank, const std::string& option);

// One rank per unit as ranks per layer; parts that are kept whole have their size.
std::vector<LayerRanks> layer_ranks(const std::vector<Spectrum>& spectra, const std::vector<RankUnit>& units, const std::vector<int64_t>& ranks);

// Every layer at the largest rank that any layer has of the part, for formats with one common rank. The cache holds the larger
// rank, so it is filled with the layer's own next directions and not with zeros.
std::unique_ptr<Allocator> make_padded(std::unique_ptr<Allocator> inner);

}  // namespace mla
