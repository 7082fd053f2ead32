// Forward of the three attention forms. x [B,T,D] -> [B,T,D], same dtype. Throws ShapeError when a width differs.
#pragma once
#include "core/model/attention_weights.h"
#include "core/model/kv_cache.h"

namespace mla {

enum class MlaPath { automatic, expanded, absorbed };  // automatic: absorbed for one new token, expanded otherwise

// Causal self-attention of x's tokens, which follow those in the cache (none when `cache` is null).
at::Tensor attention_forward(const AttentionWeights& weights, const at::Tensor& x, LayerCache* cache = nullptr,
                             MlaPath path = MlaPath::automatic);

// The heads' mixed values before the output projection, without a cache.  x [B,T,D] -> [B,T,H*v]
at::Tensor attention_heads(const AttentionWeights& weights, const at::Tensor& x);

// softmax(scale * q k^T, causal) v without the full score matrix.
//   q [B,T,H,dk]  k [B,S,G,dk]  v [B,S,G,dv]  ->  [B,T,H,dv];  query t sees keys 0 .. S-T+t, of them the last `window` where there is
//   one; head i reads group i/(H/G)
at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale, const ScoreLimits& limits = {});

// Several sequences in one row of tokens, so that products see them all and nothing is padded. Each token sees those of its own
// segment alone: the earlier ones, and what the segment's cache holds.
struct Segment {
  at::Tensor positions;      // [T] int64, of its tokens, which stand in the row one after another; without a mask, in succession
  at::Tensor mask;           // optional [T,T] fp32, added to the scores: continuations of one beginning do not see each other
  KvCache* cache = nullptr;  // optional, B = 1: the tokens follow those in it, whose positions are 0 .. length-1, and join them
  const KvCache* prefix = nullptr;  // the same, but it stays as it is: many segments may follow it. A mask is then [T, length+T]
};
// x [1, sum of T, D] -> the same shape.  `layer` is which of the caches' layers this is. Throws ShapeError.
at::Tensor packed_attention(const AttentionWeights& weights, const at::Tensor& x, const std::vector<Segment>& segments, int64_t layer);

// This layer's cache after one token, in the weights' own dtype.
LayerCache cache_of_one_token(const AttentionWeights& weights);
// Values kept in it.
int64_t cache_values_per_token(const AttentionWeights& weights);

// Queries, keys and values of the original before rotation, q/k norm applied.
struct GqaProjections {
  at::Tensor q, k, v;  // [B,T,H,h], [B,T,G,h], [B,T,G,h]
};
GqaProjections gqa_projections(const GqaWeights& weights, const at::Tensor& x);
// Rotation from position 0, attention and output projection of them, without a cache.  -> [B,T,D]
at::Tensor gqa_attention(const GqaWeights& weights, const GqaProjections& projections);

// A latent layer's projections of x before any norm and rotation; `query` is undefined without q_a.
struct MlaLatents {
  at::Tensor latent, k_rope, query;  // [B,T,r], [B,T,rope_heads*d_R], [B,T,rq]
};
MlaLatents mla_latents(const MlaWeights& weights, const at::Tensor& x);

// u = [norm(W_q x); norm(W_k x); W_v x] of x [B,T,D]  ->  [B,T,H*h+2*G*h]
at::Tensor normed_projections(const NormedProjections& weights, const at::Tensor& x);

}  // namespace mla
