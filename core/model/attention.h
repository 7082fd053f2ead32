// Forward of the three attention forms. x [B,T,D] -> [B,T,D], same dtype. Throws ShapeError when a width differs.
#pragma once
#include "core/model/attention_weights.h"
#include "core/model/kv_cache.h"

namespace mla {

enum class MlaPath { automatic, expanded, absorbed };  // automatic: absorbed for one new token, expanded otherwise

// Causal self-attention of x's tokens, which follow those in the cache (none when `cache` is null).
at::Tensor attention_forward(const AttentionWeights& weights, const at::Tensor& x, LayerCache* cache = nullptr,
                             MlaPath path = MlaPath::automatic);

// softmax(scale * q k^T, causal) v without the full score matrix.
//   q [B,T,H,dk]  k [B,S,G,dk]  v [B,S,G,dv]  ->  [B,T,H,dv];  query t sees keys 0 .. S-T+t; head i reads group i/(H/G)
at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale);

// Values kept in the cache per token by this layer, counted from a cache that one token was written to.
int64_t cache_values_per_token(const AttentionWeights& weights);

// The same weights in another dtype or on another device.
AttentionWeights to(const AttentionWeights& weights, at::Device device, at::ScalarType dtype);

}  // namespace mla
