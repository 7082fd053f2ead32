// One of the two streams of a layer's cache in pages of 64 tokens, as decode.h and cache_append.h read and write it.
#pragma once
#include <ATen/ATen.h>

#include "core/cuda/cache_append.h"

namespace mla {

// A token's row is `groups` rows of `dim` values.
struct StreamShape {
  gpu::CacheKind kind = gpu::CacheKind::bf16;
  int64_t groups = 1, dim = 0;
  int64_t quant_group = 64;  // of int8 and int4; divides dim where there are several groups
  int64_t width() const { return groups * dim; }
};

class PagedStream {
 public:
  PagedStream() = default;
  PagedStream(const StreamShape& shape, int64_t pages, at::Device device);
  // For pages whose rows are not written from the first on: kernels read what stands before a window in its first page, with a weight of 0,
  // so it has to be a number.
  void clear() { if (data_.defined()) data_.zero_(); }
  gpu::PagedTarget target() const;
  // `shared`: one row for all groups, as a latent is.
  gpu::PagedRows rows(bool shared = false) const { return {data(), page_values(), row_values(), shared ? 0 : shape_.dim}; }
  gpu::PagedRows affine(bool shared = false) const;
  const StreamShape& shape() const { return shape_; }
  const at::Tensor& values() const { return data_; }   // [pages,64,bytes of a row] uint8
  const at::Tensor& affines() const { return affine_; }  // [pages,64,2n] fp16: scale and minimum of each of n groups of values
  int64_t bytes_per_token() const;

 private:
  void* data() const { return data_.defined() ? data_.data_ptr() : nullptr; }
  int64_t row_values() const { return shape_.kind == gpu::CacheKind::int4 ? (shape_.width() + 1) / 2 * 2 : shape_.width(); }
  int64_t page_values() const { return gpu::kPageTokens * row_values(); }
  int64_t pairs() const { return gpu::is_quantised(shape_.kind) ? (shape_.width() + shape_.quant_group - 1) / shape_.quant_group : 0; }
  StreamShape shape_;
  at::Tensor data_, affine_;
};

}  // namespace mla
