// Token samples to calibrate on.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <vector>

#include "core/calibration/text_rows.h"
#include "core/tokenizer/tokenizer.h"

namespace mla {

struct SampleOptions {
  int64_t samples = 128;      // --cal-nsamples
  int64_t max_seqlen = 256;   // --cal-max-seqlen
  int64_t batch_size = 8;     // --cal-batch-size
  uint64_t seed = 42;
  int64_t held_out = 0;  // further samples, drawn after those of the calibration, which they leave as they are
  RowOptions rows;
};

struct CalibrationBatch {
  at::Tensor ids;   // [B,T] int64
  at::Tensor mask;  // [B,T] bool, false on padding
};

struct CalibrationSamples {
  std::vector<CalibrationBatch> batches;
  at::Tensor held_out;        // [N, max_seqlen] token ids; undefined where none were asked for
  std::string source_sha256;  // of the text or id file
  std::string key;            // sha256 over all ids and masks
  int64_t tokens() const;     // unmasked
};

// TransMLA's rule (utils.prepare_dataloader): non-empty rows in order, joined from random starts by "\n\n" until
// max_seqlen tokens, used rows removed; torch's generator seeded with `seed`. Throws ConfigError when the text is too short.
CalibrationSamples sample_text(const std::filesystem::path& text, const Tokenizer& tokenizer, const SampleOptions& options);
// {"batches": [{"input_ids": [[...]], "attention_mask": [[...]]}]}. Throws CheckpointError; ids must lie in [0, vocab_size).
// The last quarter of the batches (at least one) as windows, the others as samples. Throws ConfigError for a single batch.
CalibrationSamples hold_out_last_quarter(const CalibrationSamples& samples);

CalibrationSamples samples_from_ids(const std::filesystem::path& json, int64_t vocab_size);

}  // namespace mla
