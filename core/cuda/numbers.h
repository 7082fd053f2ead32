// The number formats of the CUDA operators, and 16-bit floats that need no header of the CUDA toolkit.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define MLA_HOST_DEVICE __host__ __device__
#else
#define MLA_HOST_DEVICE
#endif

namespace mla::gpu {

enum class Type : int32_t { fp32, fp16, bf16 };                     // of queries, results and activations
enum class CacheKind : int32_t { fp32, fp16, bf16, int8, int4 };    // of cached keys, values and latents

struct Half {  // IEEE binary16
  uint16_t bits;
};
struct Brain {  // bfloat16
  uint16_t bits;
};

constexpr int64_t bytes_of(Type type) { return type == Type::fp32 ? 4 : 2; }
constexpr bool is_quantised(CacheKind kind) { return kind == CacheKind::int8 || kind == CacheKind::int4; }
// Of one row of `count` values.
constexpr int64_t row_bytes(CacheKind kind, int64_t count) {
  return kind == CacheKind::fp32 ? 4 * count : kind == CacheKind::int8 ? count : kind == CacheKind::int4 ? (count + 1) / 2 : 2 * count;
}

template <class T>
constexpr Type type_of();
template <>
constexpr Type type_of<float>() {
  return Type::fp32;
}
template <>
constexpr Type type_of<Half>() {
  return Type::fp16;
}
template <>
constexpr Type type_of<Brain>() {
  return Type::bf16;
}

// ---- conversions; rounding to nearest, ties to even ------------------------------------------------------------------

namespace detail {
template <class To, class From>
MLA_HOST_DEVICE inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace detail

MLA_HOST_DEVICE inline float to_float(float x) { return x; }
MLA_HOST_DEVICE inline float to_float(Brain x) { return detail::bits_as<float>(static_cast<uint32_t>(x.bits) << 16); }
MLA_HOST_DEVICE inline float to_float(Half x) {
#ifdef __CUDA_ARCH__
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
  return wide;
#else
  const uint32_t sign = (x.bits & 0x8000u) << 16, exponent = (x.bits >> 10) & 31, fraction = x.bits & 0x3ffu;
  if (exponent == 31) return detail::bits_as<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0) return detail::bits_as<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float tiny = static_cast<float>(fraction) * 5.9604644775390625e-08f;  // 2^-24
  return sign != 0 ? -tiny : tiny;
#endif
}

template <class T>
MLA_HOST_DEVICE inline T from_float(float x);
template <>
MLA_HOST_DEVICE inline float from_float<float>(float x) {
  return x;
}
template <>
MLA_HOST_DEVICE inline Brain from_float<Brain>(float x) {
  const uint32_t bits = detail::bits_as<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40u)};  // a NaN stays one
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}
template <>
MLA_HOST_DEVICE inline Half from_float<Half>(float x) {
#ifdef __CUDA_ARCH__
  Half narrow;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(x));
  return narrow;
#else
  const uint32_t bits = detail::bits_as<uint32_t>(x), magnitude = bits & 0x7fffffffu;
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // 65520 and above
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the lowest bits
    const uint32_t shifted = detail::bits_as<uint32_t>(detail::bits_as<float>(magnitude) + 0.5f);
    return {static_cast<uint16_t>(sign | (shifted - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u);
  return {static_cast<uint16_t>(sign | rounded >> 13)};
#endif
}

}  // namespace mla::gpu
