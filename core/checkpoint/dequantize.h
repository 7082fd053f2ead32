// Blocks of GGUF's tensor types to fp32.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "core/checkpoint/gguf_file.h"

namespace mla {

struct GgufBlock {
  int64_t elements;  // per block
  int64_t bytes;
};
bool is_known_type(uint32_t type);
std::string known_types();  // "F32, F16, ... or BF16"
GgufBlock block_of(GgufType type);

// `elements` values to fp32, bit-equal to the `gguf` package's dequantisation. in.size() must be elements / block * bytes.
void dequantize(GgufType type, std::span<const std::byte> in, int64_t elements, float* out);

// IEEE half to fp32, subnormals and infinities included.
float half_to_float(uint16_t bits);

}  // namespace mla
