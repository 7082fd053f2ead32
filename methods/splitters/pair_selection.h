// Partial RoPE by rotary pairs (MHA2MLA, arXiv 2502.14837, section 3.1): each KV head keeps some of its pairs rotated.
#pragma once
#include "methods/parts.h"

namespace mla {

enum class PairRule { two_norm, high, low, uniform };

struct PairSelectionOptions {
  PairRule rule = PairRule::two_norm;
  int64_t rope_dim = 0;       // d_R, even
  int64_t uniform_start = 0;  // first pair of the uniform rule
};

// Throws ConfigError when rope_dim is odd, larger than head_dim, or (uniform) does not divide it evenly.
std::unique_ptr<Splitter> make_pair_selection(const PairSelectionOptions& options, int64_t head_dim);

// What every rule shares: KV head g keeps the rotary pairs of kept[g] ([h/2] bool, equally many per head) rotated, with rope keys
// of its own; the other pairs become position-free.
SplitLayer split_by_pairs(const GqaWeights& layer, const std::vector<at::Tensor>& kept);

// Rank of each pair by mean |q_pair| * mean |k_pair|, queries of a group summed: 0 is the strongest.  [G, h/2] int64
at::Tensor two_norm_rank(const PairNorms& norms);

}  // namespace mla
