// Small seeded random models: every dimension differs, so that a swapped one shows.
#pragma once
#include <ATen/ATen.h>

#include "core/calibration/stats.h"
#include "core/model/decoder.h"
#include "core/tokenizer/tokenizer.h"

namespace mla::test {

struct TinyShape {
  int64_t layers = 2, heads = 4, groups = 2, head_dim = 8, width = 24, inner = 40, vocab = 50;
  bool qk_norm = false;  // Qwen3
  bool biases = false;   // of queries, keys and values (Qwen2), and of the output
};

Decoder tiny_decoder(const TinyShape& shape = {}, uint64_t seed = 7);
GqaWeights tiny_gqa(const TinyShape& shape = {}, uint64_t seed = 7);
at::Tensor tiny_ids(int64_t batch, int64_t tokens, int64_t vocab, uint64_t seed = 11);     // [B,T] int64
at::Tensor tiny_inputs(int64_t batch, int64_t tokens, int64_t width, uint64_t seed = 13);  // [B,T,D] fp32
CalibrationSamples tiny_samples(int64_t batches, int64_t batch, int64_t tokens, int64_t vocab);

// Each of a to z is a token, in order, then the newline; nothing merges.
Tokenizer letter_tokenizer();

// max|a - b| / max|b|, in fp64.
double max_relative_error(const at::Tensor& a, const at::Tensor& b);

// Mean over tokens of KL(p || q) of two logit tensors [..., V], in fp64.
double mean_kl(const at::Tensor& p_logits, const at::Tensor& q_logits);

// Tolerances, each with its reason.
constexpr double kFp32Reordering = 1e-5;   // the same sums in another order at fp32
constexpr double kKlOfEquals = 1e-7;       // nats per token between models that are equal in exact arithmetic
constexpr double kOtherProgram = 1e-4;     // logits of another program at fp32
constexpr double kPerplexityRow = 2e-3;    // a published row of an original program

}  // namespace mla::test
