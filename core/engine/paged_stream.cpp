#include "core/engine/paged_stream.h"

namespace mla {

PagedStream::PagedStream(const StreamShape& shape, int64_t pages, at::Device device) : shape_(shape) {
  if (shape.width() == 0) return;
  const at::TensorOptions bytes = at::TensorOptions(at::kByte).device(device);
  data_ = at::empty({pages, gpu::kPageTokens, gpu::row_bytes(shape.kind, row_values())}, bytes);
  if (pairs() > 0) affine_ = at::empty({pages, gpu::kPageTokens, 2 * pairs()}, bytes.dtype(at::kHalf));
}

gpu::PagedTarget PagedStream::target() const {
  const gpu::PagedRows pairs_at = affine();
  return {shape_.kind, data(), page_values(), row_values(), shape_.dim, affine_.defined() ? affine_.data_ptr() : nullptr, pairs_at.page_stride, pairs_at.row_stride, pairs_at.group_stride};
}

gpu::PagedRows PagedStream::affine(bool shared) const {
  if (!affine_.defined()) return {};
  return {affine_.const_data_ptr(), gpu::kPageTokens * 2 * pairs(), 2 * pairs(), shared ? 0 : 2 * (pairs() / shape_.groups)};
}

int64_t PagedStream::bytes_per_token() const { return gpu::row_bytes(shape_.kind, row_values()) + 4 * pairs(); }

}  // namespace mla
