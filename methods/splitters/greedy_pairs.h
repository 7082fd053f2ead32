// RoPElite (EliteKV, arXiv 2503.01586, section 3.1): which rotary pairs each KV head keeps rotated, found greedily by what
// the scores lose. Rope keys are per KV head, so the query heads of a group choose together.
#pragma once
#include "methods/parts.h"

namespace mla {

// Throws ConfigError when rope_dim is odd or larger than head_dim.
std::unique_ptr<Splitter> make_greedy_pairs(int64_t rope_dim, int64_t head_dim);

// What not rotating pair p changes in the scores of KV head g: unrotated minus rotated contribution, on a subsample of the
// causal (query, key) positions.  [h/2, E] fp32
at::Tensor score_changes(const RowReservoir& rows, const at::Tensor& inv_freq, int64_t g);

// The first `count` pairs in the order in which they are chosen: each round takes the pair whose rotation leaves the least mean
// absolute difference to the scores with every pair rotated.
std::vector<int64_t> greedy_order(const at::Tensor& changes, int64_t count);

}  // namespace mla
