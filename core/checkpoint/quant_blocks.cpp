// Products and sums stand in the order of the `gguf` package (quants.py), so that results are equal bit for bit. The build keeps the
// compiler from joining a product and a sum (core/CMakeLists.txt).
#include "core/checkpoint/quant_blocks.h"

#include <cstdint>
#include <cstring>

#include "core/checkpoint/dequantize.h"

namespace mla::quant {
namespace {

constexpr int kSmall = 32, kSuper = 256;

unsigned byte_at(const std::byte* in, int i) { return static_cast<unsigned>(in[i]); }
float half_at(const std::byte* in) {
  uint16_t bits;
  std::memcpy(&bits, in, sizeof bits);
  return half_to_float(bits);
}
float as_float(int value) { return static_cast<float>(value); }

// 16 bytes hold 32 weights: the low nibbles are weights 0-15, the high ones 16-31.
int nibble(const std::byte* packed, int i) { return static_cast<int>(i < 16 ? byte_at(packed, i) & 15u : byte_at(packed, i - 16) >> 4); }
// The fifth bit of weight i, from 4 bytes of little-endian bits.
int fifth(const std::byte* bits, int i) { return static_cast<int>((byte_at(bits, i / 8) >> (i % 8) & 1u) << 4); }

// Values of the nonlinear 4-bit grid (ggml's kvalues_iq4nl).
constexpr int kGrid[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// Q4_K's and Q5_K's eight 6-bit scales and minima in 12 bytes: four low scales, four low minima, then nibbles of the other four, whose
// two upper bits stand above the first eight.
struct ScaleMin {
  int scale, minimum;
};
ScaleMin scale_min(const std::byte* in, int group) {
  if (group < 4) return {static_cast<int>(byte_at(in, group) & 63u), static_cast<int>(byte_at(in, group + 4) & 63u)};
  const int i = group - 4;
  const unsigned low = byte_at(in, i + 8), scale_top = byte_at(in, i) >> 2 & 48u, minimum_top = byte_at(in, i + 4) >> 2 & 48u;
  return {static_cast<int>((low & 15u) | scale_top), static_cast<int>(low >> 4 | minimum_top)};
}

}  // namespace

// fp16 step, 16 bytes.
void q4_0(const std::byte* in, float* out) {
  const float step = half_at(in);
  for (int i = 0; i < kSmall; ++i) out[i] = step * as_float(nibble(in + 2, i) - 8);
}

// fp16 step, fp16 minimum, 16 bytes.
void q4_1(const std::byte* in, float* out) {
  const float step = half_at(in), minimum = half_at(in + 2);
  for (int i = 0; i < kSmall; ++i) out[i] = step * as_float(nibble(in + 4, i)) + minimum;
}

// fp16 step, 4 bytes of fifth bits, 16 bytes.
void q5_0(const std::byte* in, float* out) {
  const float step = half_at(in);
  for (int i = 0; i < kSmall; ++i) out[i] = step * as_float((nibble(in + 6, i) | fifth(in + 2, i)) - 16);
}

// fp16 step, fp16 minimum, 4 bytes of fifth bits, 16 bytes.
void q5_1(const std::byte* in, float* out) {
  const float step = half_at(in), minimum = half_at(in + 2);
  for (int i = 0; i < kSmall; ++i) out[i] = step * as_float(nibble(in + 8, i) | fifth(in + 4, i)) + minimum;
}

// fp16 step, 32 signed bytes.
void q8_0(const std::byte* in, float* out) {
  const float step = half_at(in);
  for (int i = 0; i < kSmall; ++i) out[i] = step * as_float(static_cast<int8_t>(in[2 + i]));
}

// fp16 step, 16 bytes of grid indices.
void iq4_nl(const std::byte* in, float* out) {
  const float step = half_at(in);
  for (int i = 0; i < kSmall; ++i) out[i] = step * as_float(kGrid[nibble(in + 2, i)]);
}

// 16 bytes of 4-bit scales and minima, 64 bytes of 2-bit weights, fp16 step, fp16 minimum. Weight i is in byte 32 (i / 128) + i % 32 at
// bits 2 (i / 32 % 4).
void q2_k(const std::byte* in, float* out) {
  const std::byte* weights = in + 16;
  const float step = half_at(in + 80), minimum = half_at(in + 82);
  for (int i = 0; i < kSuper; ++i) {
    const unsigned both = byte_at(in, i / 16), code = byte_at(weights, 32 * (i / 128) + i % 32) >> (2 * (i / 32 % 4)) & 3u;
    const float scale = step * as_float(static_cast<int>(both & 15u)), offset = minimum * as_float(static_cast<int>(both >> 4));
    out[i] = scale * as_float(static_cast<int>(code)) - offset;
  }
}

// 32 bytes of third bits (set: not lowered by 4), 64 bytes of 2-bit weights as in Q2_K, 12 bytes of 6-bit scales, fp16 step.
void q3_k(const std::byte* in, float* out) {
  const std::byte *weights = in + 32, *scales = in + 96;
  const float step = half_at(in + 108);
  for (int i = 0; i < kSuper; ++i) {
    const int group = i / 16;
    const unsigned low = byte_at(scales, group % 8) >> (4 * (group / 8)) & 15u, high = byte_at(scales, 8 + group % 4) >> (2 * (group / 4)) & 3u;
    const float scale = step * as_float(static_cast<int>(low | high << 4) - 32);
    const unsigned code = byte_at(weights, 32 * (i / 128) + i % 32) >> (2 * (i / 32 % 4)) & 3u, kept = byte_at(in, i % 32) >> (i / 32) & 1u;
    out[i] = scale * as_float(static_cast<int>(code) - (kept != 0 ? 0 : 4));
  }
}

// fp16 step, fp16 minimum, 12 bytes of scales and minima, 128 bytes: 32 low nibbles, then their 32 high ones.
void q4_k(const std::byte* in, float* out) {
  const float step = half_at(in), minimum = half_at(in + 2);
  for (int group = 0; group < 8; ++group) {
    const ScaleMin packed = scale_min(in + 4, group);
    const float scale = step * as_float(packed.scale), offset = minimum * as_float(packed.minimum);
    for (int i = 0; i < kSmall; ++i) {
      const unsigned code = byte_at(in + 16, 32 * (group / 2) + i) >> (4 * (group % 2)) & 15u;
      out[32 * group + i] = scale * as_float(static_cast<int>(code)) - offset;
    }
  }
}

// As Q4_K, with 32 bytes of fifth bits before the nibbles: bit g of byte i is of weight i of group g.
void q5_k(const std::byte* in, float* out) {
  const float step = half_at(in), minimum = half_at(in + 2);
  for (int group = 0; group < 8; ++group) {
    const ScaleMin packed = scale_min(in + 4, group);
    const float scale = step * as_float(packed.scale), offset = minimum * as_float(packed.minimum);
    for (int i = 0; i < kSmall; ++i) {
      const unsigned low = byte_at(in + 48, 32 * (group / 2) + i) >> (4 * (group % 2)) & 15u, high = byte_at(in + 16, i) >> group & 1u;
      out[32 * group + i] = scale * as_float(static_cast<int>(low | high << 4)) - offset;
    }
  }
}

// 128 bytes of low nibbles (64 low, then their 64 high ones), 64 bytes of upper bit pairs, 16 signed scales, fp16 step.
void q6_k(const std::byte* in, float* out) {
  const float step = half_at(in + 208);
  for (int i = 0; i < kSuper; ++i) {
    const float scale = step * as_float(static_cast<int8_t>(in[192 + i / 16]));
    const unsigned low = byte_at(in, 64 * (i / 128) + i % 64) >> (4 * (i / 64 % 2)) & 15u;
    const unsigned high = byte_at(in + 128, 32 * (i / 128) + i % 32) >> (2 * (i / 32 % 4)) & 3u;
    out[i] = scale * as_float(static_cast<int>(low | high << 4) - 32);
  }
}

// fp16 step, 2 bytes of upper scale bits, 4 bytes of lower ones, 128 bytes of grid indices: groups of 32 as in IQ4_NL.
void iq4_xs(const std::byte* in, float* out) {
  const float step = half_at(in);
  uint16_t upper;
  std::memcpy(&upper, in + 2, sizeof upper);
  for (int group = 0; group < 8; ++group) {
    const unsigned low = byte_at(in + 4, group / 2) >> (4 * (group % 2)) & 15u, high = static_cast<unsigned>(upper) >> (2 * group) & 3u;
    const float scale = step * as_float(static_cast<int>(low | high << 4) - 32);
    for (int i = 0; i < kSmall; ++i) out[32 * group + i] = scale * as_float(kGrid[nibble(in + 8 + 16 * group, i)]);
  }
}

}  // namespace mla::quant
