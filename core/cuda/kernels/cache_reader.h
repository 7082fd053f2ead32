// Single values of a paged cache, on host and device.
#pragma once
#include "core/cuda/decode.h"

namespace mla::gpu {

struct CacheRow {
  int32_t page, row, group;
};
MLA_HOST_DEVICE constexpr int64_t row_start(const PagedRows& rows, CacheRow at) {
  return at.page * rows.page_stride + at.row * rows.row_stride + at.group * rows.group_stride;
}

// Code of value i.
MLA_HOST_DEVICE inline int code_at(CacheKind kind, const void* data, int64_t i) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  return kind == CacheKind::int8 ? bytes[i] : bytes[i / 2] >> (i % 2 * 4) & 15;
}

// Value `dim` of the row that starts `start` values after `data`; `pair` is the row's first scale.
template <CacheKind kKind>
MLA_HOST_DEVICE inline float cache_value(const void* data, int64_t start, const Half* pair, int32_t group_size, int32_t dim) {
  if constexpr (kKind == CacheKind::fp32) return static_cast<const float*>(data)[start + dim];
  else if constexpr (kKind == CacheKind::fp16) return to_float(static_cast<const Half*>(data)[start + dim]);
  else if constexpr (kKind == CacheKind::bf16) return to_float(static_cast<const Brain*>(data)[start + dim]);
  else {
    const Half* affine = pair + 2 * (dim / group_size);
    return static_cast<float>(code_at(kKind, data, start + dim)) * to_float(affine[0]) + to_float(affine[1]);
  }
}

}  // namespace mla::gpu
