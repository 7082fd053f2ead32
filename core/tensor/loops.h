// What our own loops over rows share: clones for wider registers, an exponential without branches, bf16 in and out.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

// Compiles a function for AVX-512, AVX2 and any x86-64; the widest that the processor has is taken at start-up.
#define MLA_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))

// Files with loops over these are compiled with -fno-trapping-math: without it GCC 12 makes the exponential's bound a jump on AVX2, and
// its loops go one value at a time (`objdump -d` shows no ymm register in row_exp_sum.avx2). The values are the same.

namespace mla {

// exp(x) for x <= 0 to 2 ulp, e^-87 below -87, without a branch or a call so that loops over it vectorise (std::floor keeps GCC 12
// from it). Range reduction x = k ln2 + r, |r| <= ln2/2, and a degree-6 polynomial; k is rounded by adding 1.5 * 2^23.
inline float exp_nonpositive(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float shifted = x * 1.44269504f + 12582912.0f, k = shifted - 12582912.0f;
  const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127) << 23;  // the low bits of the shifted value are k
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

// x / (1 + e^-x)
inline float silu(float x) {
  const float e = exp_nonpositive(-std::fabs(x)), share = x < 0 ? e : 1.0f;
  return x * share / (1.0f + e);
}

// bf16 as the upper half of an fp32 value; rounded to nearest, ties to even, NaN stays NaN.
inline float widen(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}
inline uint16_t round_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16) | 0x40 : rounded);
}

}  // namespace mla
