// Ranks proportional to the mean root Fisher information of the weights that a part stands for (Palu, arXiv 2407.21118,
// section 3.4). Palu rounds each rank to the nearest multiple and so may leave its budget; here the mean stays within it.
#pragma once
#include "methods/allocators/rank_units.h"

namespace mla {
std::unique_ptr<Allocator> make_fisher(int64_t rank, const std::string& option, const RankBounds& bounds);
}  // namespace mla
