// Samples that the model writes itself, beside those of a text: they cover what the model knows and a single corpus does not.
#pragma once
#include "core/calibration/samples.h"
#include "core/model/decoder.h"

namespace mla {

// `count` samples of `length` tokens: the first id uniform over the vocabulary, each later one drawn from the model's distribution at
// temperature 1 (as LLM-QAT draws its data, arXiv:2305.17888, section 3.1). Equal seeds give equal samples at equal threads.
// [count, length] int64 on the CPU. Throws Interrupted.
at::Tensor write_samples(const Decoder& model, int64_t count, int64_t length, uint64_t seed);

// Appends them to `samples` in batches of `batch_size`; samples.key names them too.
void add_samples(const at::Tensor& ids, int64_t batch_size, CalibrationSamples& samples);

}  // namespace mla
