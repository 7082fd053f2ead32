// RoRoPE with frequency folding (TransMLA, arXiv 2502.07864, section 4.1): an orthogonal map between heads, one per group
// of F adjacent frequencies, gathers the keys' energy in the first components; only those keep RoPE.
#pragma once
#include "methods/parts.h"

namespace mla {

struct RoropeOptions {
  int64_t freqfold = 1;   // F: frequencies treated as equal
  int64_t collapse = 1;   // every collapse-th frequency is kept; F % collapse = 0
  double attended = 0;    // share of attention-weighted moments (attention_weighted_second); 0: all tokens count the same
  double damping = 0.01;  // of the mean diagonal, added to the Gram matrix as the original does
};

// Throws ConfigError when F does not divide head_dim/2 or collapse does not divide F.
std::unique_ptr<Splitter> make_rorope(const RoropeOptions& options, int64_t head_dim);

}  // namespace mla
