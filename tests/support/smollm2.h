// The real model of the end-to-end tests, read once per process, and its calibration samples.
#pragma once
#include <map>
#include <string>

#include "core/checkpoint/safetensors_file.h"
#include "eval/perplexity.h"
#include "methods/convert.h"
#include "tests/support/paths.h"

namespace mla::test {

struct RealModel {
  Decoder decoder;
  std::shared_ptr<const Tokenizer> tokenizer;
  CalibrationSamples samples;  // tests/goldens/calibration_tokens.json
};

// Null, with the reason printed through skip(), where the model was not fetched.
const RealModel* real_model();

// Statistics are measured once per state and process.
CollectStats shared_stats(const RealModel& model);
Conversion convert_real(const RealModel& model, const std::string& method, const Json& options);

// Tensor of a golden file, in its own dtype.
at::Tensor golden_tensor(const SafetensorsFile& file, const std::string& name);

}  // namespace mla::test
