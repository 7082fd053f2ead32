// Small GGUF and safetensors files, byte by byte, for tests to spoil; and what a reader says of them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "tests/support/bytes.h"

namespace mla::test {

// Text of the CheckpointError that `call` ends with; empty when it succeeds. Every other exception passes through.
template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "";
}

// ---- GGUF -----------------------------------------------------------------------------------------------------------

namespace gguf {
enum Value : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };
enum Tensor : uint32_t { F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q8_0 = 8, BF16 = 30 };
}  // namespace gguf

inline std::string gguf_text(std::string_view text) { return raw<uint64_t>(text.size()) + std::string(text); }

inline std::string gguf_key(std::string_view name, uint32_t type, const std::string& value) {
  return gguf_text(name) + raw(type) + value;
}
inline std::string gguf_array(std::string_view name, uint32_t type, uint64_t length, const std::string& values) {
  return gguf_key(name, gguf::array, raw(type) + raw(length) + values);
}

struct GgufEntry {
  std::string name;
  std::vector<uint64_t> dims;  // fastest first, as the file has them
  uint32_t type;
  std::string data;
  std::optional<uint64_t> offset = {};      // where it is not the running sum
  std::optional<uint32_t> dim_count = {};   // where it is not dims.size()
};

struct GgufSample {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> tensor_count = {}, key_count = {};  // where they are not as below
  uint64_t alignment = 32;
  std::vector<std::string> keys;
  std::vector<GgufEntry> tensors;

  std::string bytes() const {
    std::string out = magic + raw(version) + raw<uint64_t>(tensor_count.value_or(tensors.size())) +
                      raw<uint64_t>(key_count.value_or(keys.size()));
    for (const std::string& key : keys) out += key;
    std::string data;
    for (const GgufEntry& tensor : tensors) {
      data.resize((data.size() + alignment - 1) / alignment * alignment);
      out += gguf_text(tensor.name) + raw(tensor.dim_count.value_or(static_cast<uint32_t>(tensor.dims.size())));
      for (const uint64_t dim : tensor.dims) out += raw(dim);
      out += raw(tensor.type) + raw<uint64_t>(tensor.offset.value_or(data.size()));
      data += tensor.data;
    }
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data;
  }
};

// ---- safetensors ----------------------------------------------------------------------------------------------------

inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  return raw<uint64_t>(header.size()) + header + data;
}

}  // namespace mla::test
