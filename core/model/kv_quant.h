// Integers of 8, 4 or 2 bits for rows of keys, values or latents: x = code * scale + minimum, one scale and minimum per group.
#pragma once
#include <ATen/ATen.h>

#include <string>

namespace mla {

// token: a group is `group` neighbouring values of one token's row (quanto's axis 0 and HQQ's axis 1, where `group` divides the head
// width). channel: the same value of `group` tokens in succession (KIVI's keys, arXiv 2402.02750; quanto's axis -1).
enum class QuantAxis { token, channel };

// How scale and minimum follow from a group's smallest and largest value, with codes 0 .. m = 2^bits - 1:
//   quanto  scale = (max - min) / m, minimum = min          (optimum-quanto 0.2.7, MaxOptimizer and quantize_affine)
//   hqq     the same scale; then up to 20 rounds move the zero point towards a smaller sum of |x - x'|^0.7 (hqq 0.2.8,
//           optimize_weights_proximal; Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023)
// Both round to the nearest code, ties to even, and clamp. |x - x'| <= scale / 2 holds for quanto alone.
enum class QuantRule { quanto, hqq };

struct QuantFormat {
  int bits = 4;  // 8, 4, 2
  int64_t group = 64;
  QuantAxis axis = QuantAxis::token;
  QuantRule rule = QuantRule::quanto;
  at::ScalarType scales = at::kHalf;  // of scale and minimum: kHalf, kFloat
};

// Rows of tokens as they are kept. With `token` the last group of a row is shorter where `group` does not divide the width.
struct QuantBlock {
  at::Tensor codes;           // uint8 [B, T, ceil(width * bits / 8)]; the first value in the lowest bits; what is left over is 0
  at::Tensor scale, minimum;  // token: [B, T, ceil(width / group)]; channel: [B, T / group, width]
  int64_t tokens() const { return codes.defined() ? codes.size(1) : 0; }
  int64_t bytes() const;
};

// x [B,T,width], any floating dtype, T a multiple of `group` for channel. Throws ShapeError, ConfigError for a format that does not exist,
// NumericalError when a scale leaves the range of `scales`.
QuantBlock quantize(const at::Tensor& x, const QuantFormat& format);
// -> [B,T,width]
at::Tensor dequantize(const QuantBlock& block, const QuantFormat& format, int64_t width, at::ScalarType dtype);

// codes [..., n] uint8 below 2^bits -> [..., ceil(n * bits / 8)], and back.
at::Tensor pack_codes(const at::Tensor& codes, int bits);
at::Tensor unpack_codes(const at::Tensor& bytes, int bits, int64_t count);

}  // namespace mla
