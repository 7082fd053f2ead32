// Writes a GGUF file, version 3, little endian, tensors aligned to 32 bytes.
#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/checkpoint/later_tensor.h"

namespace mla {

class GgufWriter {
 public:
  void add_uint(std::string_view key, uint64_t value);  // as u32. Throws ShapeError above 2^32 - 1
  void add_float(std::string_view key, double value);   // as f32
  void add_bool(std::string_view key, bool value);
  void add_text(std::string_view key, std::string_view value);
  void add_texts(std::string_view key, const std::vector<std::string>& values);
  void add_ints(std::string_view key, const std::vector<int32_t>& values);
  void add_floats(std::string_view key, const std::vector<float>& values);
  // As DirectoryWriter::add, until write(). Matrices and up keep their dtype; vectors become fp32, as llama.cpp wants its norms.
  void add(const std::string& name, LaterTensor tensor);
  // Throws ShapeError for a dtype other than fp32, fp16 and bf16, ResourceError when the file cannot be written.
  void write(const std::filesystem::path& path) const;

 private:
  void key(std::string_view name, uint32_t type);
  void array(std::string_view name, uint32_t type, uint64_t size);
  uint64_t keys_ = 0;
  std::string metadata_;
  LaterTensors tensors_;
};

}  // namespace mla
