// Tiny models of every family whose logits transformers computed: tests/oracle/family_goldens.py. Their weights follow from their names.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/model/decoder.h"
#include "tests/tokenizer/splitmix64.h"

namespace mla::test {

// "gemma2", "llama_yarn", ...: one for each file of tests/goldens/families.
const std::vector<std::string>& family_names();
const Json& family_golden(const std::string& name);

// splitmix64 from the name's FNV-1a hash on: what the scripts under tests/oracle make numbers of (tests/oracle/splitmix64.py).
SplitMix64 formula_bits(const std::string& name);
// The value of each element of a tensor, as the oracle's script sets it.  fp32
at::Tensor formula_tensor(const std::string& name, const std::vector<int64_t>& shape, bool unit_norms);
// All of them by their names in the checkpoint.
std::vector<std::pair<std::string, at::Tensor>> family_tensors(const std::string& name);

// Writes config.json and model.safetensors as transformers did.
void write_family(const std::string& name, const std::filesystem::path& folder);
void write_safetensors(const std::vector<std::pair<std::string, at::Tensor>>& tensors, const std::filesystem::path& file);  // fp32

Decoder family_model(const std::string& name);

}  // namespace mla::test
