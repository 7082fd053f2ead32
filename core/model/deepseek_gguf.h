// One GGUF file that llama.cpp reads as deepseek2, every layer dense: written, and read back to be checked.
#pragma once
#include "core/model/deepseek_form.h"
#include "core/tokenizer/tokenizer.h"

namespace mla {

struct GgufTexts {
  std::string name;           // general.name
  std::string chat_template;  // of the source; empty where it has none
  std::string record;         // mlaforge.conversion, JSON
};

// Writes a model that to_deepseek_form made for llama.cpp, with its vocabulary. Throws ConfigError where the tokenizer has no form there,
// ResourceError when the file cannot be written.
void save_deepseek_gguf(const LayerStream& form, const Tokenizer& tokenizer, const GgufTexts& texts, const std::filesystem::path& path);

// Reads such a file. Throws CheckpointError naming what is missing or does not fit.
LayerStream open_deepseek_gguf(const std::filesystem::path& path, at::Device device, at::ScalarType dtype);
Decoder load_deepseek_gguf(const std::filesystem::path& path, at::Device device, at::ScalarType dtype);

}  // namespace mla
