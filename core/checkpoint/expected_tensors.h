// Which tensors a configuration asks for, so that a file is compared with it before anything is loaded.
#pragma once
#include "core/checkpoint/checkpoint.h"

namespace mla {

struct ExpectedTensor {
  std::string name;            // Hugging Face's
  std::vector<int64_t> shape;  // [out, in]; empty: checked where it is read (converted layers)
};
std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config);

// Throws CheckpointError that lists the tensors that are missing and those that nothing reads, or names one of a wrong shape with the
// wanted and the found one.
void check_tensors(const Checkpoint& checkpoint);

}  // namespace mla
