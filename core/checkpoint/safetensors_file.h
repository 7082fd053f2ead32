// One safetensors file: 8 bytes of header length, JSON header, data. Rules of the format enforced, nothing trusted.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/base/files.h"

namespace mla {

enum class SafeType { f32, f16, bf16, f64, i64 };

struct SafeTensor {
  SafeType type = SafeType::f32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

class SafetensorsFile {
 public:
  // Throws CheckpointError naming file, byte offset and tensor.
  explicit SafetensorsFile(const std::filesystem::path& path);
  const std::map<std::string, SafeTensor>& tensors() const { return tensors_; }
  const MappedFile& file() const { return file_; }

 private:
  MappedFile file_;
  std::map<std::string, SafeTensor> tensors_;
};

struct SafeEntry {
  std::string name;
  SafeType type;
  std::vector<int64_t> shape;
  std::size_t bytes;
};
// The header of a file that holds `entries` in this order, length prefix included, padded to 8 bytes.
std::string safetensors_header(const std::vector<SafeEntry>& entries);
std::size_t size_of(SafeType type);

}  // namespace mla
