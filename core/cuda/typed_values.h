// Single values of an array whose dtype is known at run time: for the references, on the host.
#pragma once
#include "core/cuda/numbers.h"

namespace mla::gpu {

inline double value_at(Type type, const void* data, int64_t i) {
  if (type == Type::fp32) return static_cast<const float*>(data)[i];
  return type == Type::fp16 ? to_float(static_cast<const Half*>(data)[i]) : to_float(static_cast<const Brain*>(data)[i]);
}
inline void set_value(Type type, void* data, int64_t i, double x) {
  const auto narrow = static_cast<float>(x);
  if (type == Type::fp32) static_cast<float*>(data)[i] = narrow;
  else if (type == Type::fp16) static_cast<Half*>(data)[i] = from_float<Half>(narrow);
  else static_cast<Brain*>(data)[i] = from_float<Brain>(narrow);
}
inline float rounded(Type type, double x) {
  const auto narrow = static_cast<float>(x);
  return type == Type::fp32 ? narrow : type == Type::fp16 ? to_float(from_float<Half>(narrow)) : to_float(from_float<Brain>(narrow));
}

}  // namespace mla::gpu
