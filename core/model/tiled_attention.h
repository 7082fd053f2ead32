// Attention of whole windows on processors with AVX-512: scores, softmax and mixing of one block of queries stay in its core's cache.
#pragma once
#include "core/model/mixed_values.h"

namespace mla {

// Whether tiled_attention takes them: on the CPU, fp32 (AVX-512) or bf16 (AVX512-BF16), no soft-cap, no gradient, more than a few queries.
bool tiled_attention_takes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Scoring& scoring);

// As mixed_values. Sums and softmax in fp32; with bf16 the probabilities are rounded to bf16 before they weigh the values. The result
// does not depend on the number of threads. A query that sees nothing becomes NaN.
// Streaming softmax over blocks of keys: Milakov and Gimelshein, arXiv:1805.02867; FlashAttention, arXiv:2205.14135, algorithm 1.
at::Tensor tiled_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Scoring& scoring);

}  // namespace mla
