#include "core/checkpoint/dequantize.h"

#include <cstring>

#include "core/base/error.h"

namespace mla {
namespace {

uint16_t read16(const std::byte* at) {
  uint16_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// 32 weights: fp16 step, fp16 minimum, 16 bytes whose low nibbles are weights 0-15 and high nibbles 16-31.
void q4_1_block(const std::byte* in, float* out) {
  const float step = half_to_float(read16(in)), minimum = half_to_float(read16(in + 2));
  for (int i = 0; i < 16; ++i) {
    const auto packed = static_cast<unsigned>(in[4 + i]);
    out[i] = step * static_cast<float>(packed & 15u) + minimum;
    out[i + 16] = step * static_cast<float>(packed >> 4) + minimum;
  }
}

// 32 weights: fp16 step, 32 signed bytes.
void q8_0_block(const std::byte* in, float* out) {
  const float step = half_to_float(read16(in));
  for (int i = 0; i < 32; ++i) out[i] = step * static_cast<float>(static_cast<int8_t>(in[2 + i]));
}

}  // namespace

float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u;
  uint32_t mantissa = bits & 1023u, result;
  if (exponent == 31) {
    result = sign | 0x7f800000u | (mantissa << 13);
  } else if (exponent != 0) {
    result = sign | ((exponent + 112) << 23) | (mantissa << 13);
  } else if (mantissa == 0) {
    result = sign;
  } else {
    uint32_t shift = 113;
    while ((mantissa & 1024u) == 0) mantissa <<= 1, --shift;
    result = sign | (shift << 23) | ((mantissa & 1023u) << 13);
  }
  float value;
  std::memcpy(&value, &result, sizeof value);
  return value;
}

bool is_known_type(uint32_t type) {
  for (const GgufType known : {GgufType::f32, GgufType::f16, GgufType::bf16, GgufType::q4_1, GgufType::q8_0})
    if (static_cast<uint32_t>(known) == type) return true;
  return false;
}

GgufBlock block_of(GgufType type) {
  switch (type) {
    case GgufType::f32: return {1, 4};
    case GgufType::f16: return {1, 2};
    case GgufType::bf16: return {1, 2};
    case GgufType::q4_1: return {32, 20};
    case GgufType::q8_0: return {32, 34};
  }
  fail<ShapeError>("gguf", "wanted a known tensor type, got ", static_cast<uint32_t>(type));
}

void dequantize(GgufType type, std::span<const std::byte> in, int64_t elements, float* out) {
  const GgufBlock block = block_of(type);
  const std::byte* next = in.data();
  for (int64_t i = 0; i < elements; i += block.elements, next += block.bytes) switch (type) {
      case GgufType::f32: std::memcpy(out + i, next, 4); break;
      case GgufType::f16: out[i] = half_to_float(read16(next)); break;
      case GgufType::bf16: {
        const uint32_t bits = static_cast<uint32_t>(read16(next)) << 16;
        std::memcpy(out + i, &bits, 4);
        break;
      }
      case GgufType::q4_1: q4_1_block(next, out + i); break;
      case GgufType::q8_0: q8_0_block(next, out + i); break;
    }
}

}  // namespace mla
