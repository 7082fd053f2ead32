// X-EcoMLA's initialisation (arXiv 2503.11132, section 3.1): the first n dims of each head are position-free, the last d_R
// rows of W_K, averaged over the KV heads, are one shared rope key. Needs no data and keeps no score exactly: the published
// method distils afterwards.
#pragma once
#include "methods/parts.h"

namespace mla {

struct MeanRopeKeyOptions {
  int64_t rope_dim = 0;  // d_R, even
  int64_t nope_dim = 0;  // n
  bool interleaved = true;  // pairs (2i, 2i+1) of the last d_R dims, as the released code rotates them; else (i, i + d_R/2)
};
// Throws ConfigError when a width does not fit head_dim, or the model gives frequencies for its own head width alone and d_R is another.
std::unique_ptr<Splitter> make_mean_rope_key(const MeanRopeKeyOptions& options, const ModelConfig& model);

}  // namespace mla
