// The arithmetic of QuantRule::quanto with fp16 scales (core/model/kv_quant.h) for one group, bit for bit.
#pragma once
#include <cmath>

#include "core/cuda/decode.h"

namespace mla::gpu {

// The largest fp16 number that is not above x.
MLA_HOST_DEVICE inline Half half_below(float x) {
  const Half near = from_float<Half>(x);
  if (!(to_float(near) > x)) return near;
  if ((near.bits & 0x7fffu) == 0) return {0x8001};  // the negative number next to 0
  return {static_cast<uint16_t>((near.bits & 0x8000u) != 0 ? near.bits + 1 : near.bits - 1)};
}
MLA_HOST_DEVICE inline Half half_above(float x) { return {static_cast<uint16_t>(half_below(-x).bits ^ 0x8000u)}; }

struct Affine {
  Half scale, minimum;
  MLA_HOST_DEVICE bool finite() const { return (scale.bits & 0x7c00u) != 0x7c00u && (minimum.bits & 0x7c00u) != 0x7c00u; }
};
MLA_HOST_DEVICE constexpr float top_code(CacheKind kind) { return kind == CacheKind::int8 ? 255.0f : 15.0f; }
MLA_HOST_DEVICE inline Affine affine_of(CacheKind kind, float smallest, float largest) {
  const Half minimum = half_below(smallest);
  return {half_above((largest - to_float(minimum)) / top_code(kind)), minimum};
}
MLA_HOST_DEVICE inline uint8_t code_of(CacheKind kind, Affine affine, float x) {
  const float scale = to_float(affine.scale), steps = (x - to_float(affine.minimum)) / (scale == 0 ? 1.0f : scale);  // a flat group: code 0
  const float code = rintf(steps);
  return static_cast<uint8_t>(code > 0 ? (code < top_code(kind) ? code : top_code(kind)) : 0.0f);
}

}  // namespace mla::gpu
