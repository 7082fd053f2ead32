#include "core/checkpoint/dequantize.h"

#include <cstring>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/checkpoint/quant_blocks.h"

namespace mla {
namespace {

uint16_t read16(const std::byte* at) {
  uint16_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

void f32(const std::byte* in, float* out) { std::memcpy(out, in, sizeof *out); }
void f16(const std::byte* in, float* out) { *out = half_to_float(read16(in)); }
void bf16(const std::byte* in, float* out) {
  const uint32_t bits = static_cast<uint32_t>(read16(in)) << 16;
  std::memcpy(out, &bits, sizeof *out);
}

struct Entry {
  GgufType type;
  const char* name;
  GgufBlock block;
  void (*read)(const std::byte* in, float* out);  // one block
};
constexpr Entry kTypes[] = {
    {GgufType::f32, "F32", {1, 4}, f32},
    {GgufType::f16, "F16", {1, 2}, f16},
    {GgufType::bf16, "BF16", {1, 2}, bf16},
    {GgufType::q4_0, "Q4_0", {32, 18}, quant::q4_0},
    {GgufType::q4_1, "Q4_1", {32, 20}, quant::q4_1},
    {GgufType::q5_0, "Q5_0", {32, 22}, quant::q5_0},
    {GgufType::q5_1, "Q5_1", {32, 24}, quant::q5_1},
    {GgufType::q8_0, "Q8_0", {32, 34}, quant::q8_0},
    {GgufType::q2_k, "Q2_K", {256, 84}, quant::q2_k},
    {GgufType::q3_k, "Q3_K", {256, 110}, quant::q3_k},
    {GgufType::q4_k, "Q4_K", {256, 144}, quant::q4_k},
    {GgufType::q5_k, "Q5_K", {256, 176}, quant::q5_k},
    {GgufType::q6_k, "Q6_K", {256, 210}, quant::q6_k},
    {GgufType::iq4_nl, "IQ4_NL", {32, 18}, quant::iq4_nl},
    {GgufType::iq4_xs, "IQ4_XS", {256, 136}, quant::iq4_xs}};

const Entry* find(uint32_t type) {
  for (const Entry& entry : kTypes)
    if (static_cast<uint32_t>(entry.type) == type) return &entry;
  return nullptr;
}
const Entry& entry_of(GgufType type) {
  if (const Entry* entry = find(static_cast<uint32_t>(type))) return *entry;
  fail<ShapeError>("gguf", "wanted a known tensor type, got ", static_cast<uint32_t>(type));
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

bool is_known_type(uint32_t type) { return find(type) != nullptr; }

std::string known_types() {
  std::vector<std::string> names;
  for (const Entry& entry : kTypes) names.emplace_back(entry.name);
  const std::string last = names.back();
  names.pop_back();
  return join(names) + " or " + last;
}

GgufBlock block_of(GgufType type) { return entry_of(type).block; }

void dequantize(GgufType type, std::span<const std::byte> in, int64_t elements, float* out) {
  const Entry& entry = entry_of(type);
  if (type == GgufType::f32) {
    std::memcpy(out, in.data(), static_cast<std::size_t>(elements) * sizeof *out);
    return;
  }
  const std::byte* next = in.data();
  for (int64_t i = 0; i < elements; i += entry.block.elements, next += entry.block.bytes) entry.read(next, out + i);
}

}  // namespace mla
