// softmax(q k^T) v without the full score matrix, in blocks of queries or through ATen's fused operator.
#pragma once
#include "core/model/attention_weights.h"

namespace mla {

struct Scoring {
  double scale = 1;
  ScoreLimits limits;
  at::Tensor mask;  // [T,S] fp32, added to the scores, causality and window included; undefined: both follow from the order of tokens
};

// The queries are the last T of S tokens.  q [B,T,H,dk]  k [B,S,G,dk]  v [B,S,G,dv]  ->  [B,T,H,dv]
at::Tensor mixed_values(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Scoring& scoring);

// `mask` [T,S] with what stands `window` or more positions behind a query hidden too.  positions [T] and [S] int64
at::Tensor with_window(const at::Tensor& mask, const at::Tensor& query_positions, const at::Tensor& key_positions, int64_t window);

}  // namespace mla
