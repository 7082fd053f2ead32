// GGUF versions 2 and 3, little endian: header, metadata, tensor directory. Nothing in the file is trusted.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "core/base/files.h"

namespace mla {

enum class GgufType : uint32_t {
  f32 = 0, f16 = 1, q4_0 = 2, q4_1 = 3, q5_0 = 6, q5_1 = 7, q8_0 = 8, q2_k = 10, q3_k = 11, q4_k = 12, q5_k = 13, q6_k = 14, iq4_nl = 20, iq4_xs = 23,
  bf16 = 30
};

struct GgufTensor {
  std::string name;
  GgufType type = GgufType::f32;
  std::vector<int64_t> shape;       // slowest dimension first, as LibTorch orders them
  std::size_t offset = 0;           // of its data in the file
  std::span<const std::byte> bytes;  // exactly its data
  int64_t elements() const;
};

using GgufValue = std::variant<bool, uint64_t, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                               std::vector<std::string>>;

// Throws CheckpointError naming file, byte offset and key or tensor for everything that is not as the format says, and at
// a getter when the key is missing or has another type.
class GgufFile {
 public:
  explicit GgufFile(const std::filesystem::path& path);
  bool has(const std::string& key) const { return values_.count(key) > 0; }
  uint64_t get_uint(const std::string& key) const;
  double get_float(const std::string& key) const;
  bool get_bool(const std::string& key) const;
  const std::string& get_string(const std::string& key) const;
  const std::vector<std::string>& get_strings(const std::string& key) const;
  const std::vector<int64_t>& get_ints(const std::string& key) const;
  const std::vector<double>& get_floats(const std::string& key) const;
  std::vector<std::string> keys() const;
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find(const std::string& name) const;
  const MappedFile& file() const { return file_; }

 private:
  template <class T>
  const T& get(const std::string& key, const char* wanted) const;
  MappedFile file_;
  std::unordered_map<std::string, GgufValue> values_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string, std::size_t> index_;
};

}  // namespace mla
