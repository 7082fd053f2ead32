#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/base/error.h"
#include "core/cuda/cache_append.h"
#include "core/cuda/kernels/quantise.h"
#include "core/cuda/typed_values.h"

namespace mla::gpu {
namespace {

void require(bool holds, const char* wanted) {
  if (!holds) fail<ShapeError>("cache_append", "wanted ", wanted);
}

void check_target(const CacheAppendArgs& a, const PagedTarget& to) {
  require(to.data != nullptr, "rows of the cache, got a null pointer");
  if (!is_quantised(to.kind)) return require(static_cast<int32_t>(to.kind) == static_cast<int32_t>(a.type), "cache rows in the dtype of the new ones, int8 or int4");
  require(to.affine != nullptr, "scales and minima of quantised rows, got a null pointer");
  require(a.quant_group >= 2 && a.quant_group <= 512 && a.quant_group % 2 == 0, "an even quant_group of 2 to 512");
  require(to.kind == CacheKind::int8 || (to.page_stride % 2 == 0 && to.row_stride % 2 == 0 && to.group_stride % 2 == 0), "even strides of int4 rows");
}

}  // namespace

void check_cache_append(const CacheAppendArgs& a) {
  require(a.tokens >= 0 && a.width >= 0 && a.width <= 8192 && a.groups >= 0 && a.heads >= 0, "tokens, heads and groups of 0 or more, and a width of 0 to 8192");
  require(a.dim >= 0 && a.dim <= 1024 && a.dim % 2 == 0, "an even rotated dim of 0 to 1024");
  if (a.tokens == 0) return;
  require(a.sequence != nullptr && a.position != nullptr && a.page_table != nullptr, "sequences, positions and a page table, got a null pointer");
  require(a.page_table_stride >= a.max_pages, "a page table of max_pages columns");
  if (a.width > 0) require(a.plain != nullptr, "plain rows, got a null pointer"), check_target(a, a.plain_rows);
  if (a.dim == 0) return;
  require(a.cos != nullptr && a.sin != nullptr, "cosines and sines, got a null pointer");
  require(a.rope_heads >= 1 && a.heads % a.rope_heads == 0 && a.groups % a.rope_heads == 0, "heads and groups that are multiples of rope_heads");
  require(a.heads == 0 || a.queries != nullptr, "queries, got a null pointer");
  if (a.groups > 0) require(a.rotated != nullptr, "rows to rotate, got a null pointer"), check_target(a, a.rotated_rows);
}

namespace reference {
namespace {

void put_row(const CacheAppendArgs& a, const PagedTarget& to, int32_t page, int32_t row, int32_t group, const std::vector<float>& values) {
  const int64_t first = page * to.page_stride + row * to.row_stride + group * to.group_stride;
  const auto width = static_cast<int32_t>(values.size());
  if (!is_quantised(to.kind)) {
    for (int32_t i = 0; i < width; ++i) set_value(a.type, to.data, first + i, values[static_cast<std::size_t>(i)]);
    return;
  }
  auto* pairs = static_cast<Half*>(to.affine) + page * to.affine_page_stride + row * to.affine_row_stride + group * to.affine_group_stride;
  auto* bytes = static_cast<uint8_t*>(to.data);
  for (int32_t g = 0; g * a.quant_group < width; ++g) {
    const auto begin = values.begin() + g * a.quant_group, end = values.begin() + std::min(width, (g + 1) * a.quant_group);
    const Affine affine = affine_of(to.kind, *std::min_element(begin, end), *std::max_element(begin, end));
    pairs[2 * g] = affine.scale;
    pairs[2 * g + 1] = affine.minimum;
    if (!affine.finite() && a.faults != nullptr) ++*a.faults;
    for (auto value = begin; value != end; ++value) {
      const int64_t at = first + (value - values.begin());
      const uint8_t code = code_of(to.kind, affine, *value);
      if (to.kind == CacheKind::int8) bytes[at] = code;
      else if (at % 2 == 0) bytes[at / 2] = code;  // what is left over of the last byte is 0
      else bytes[at / 2] = static_cast<uint8_t>(bytes[at / 2] | code << 4);
    }
  }
}

// Row [d] of head `head` of `heads`, rotated and rounded to the dtype.
std::vector<float> rotated(const CacheAppendArgs& a, int32_t position, const void* data, int64_t start, int32_t head, int32_t heads) {
  std::vector<float> out(static_cast<std::size_t>(a.dim));
  const int32_t half = a.dim / 2;
  for (int32_t i = 0; i < half; ++i) {
    const int64_t angle = (static_cast<int64_t>(position) * a.rope_heads + head / (heads / a.rope_heads)) * half + i;
    const double x = value_at(a.type, data, start + i), y = value_at(a.type, data, start + i + half), cos = a.cos[angle], sin = a.sin[angle];
    out[static_cast<std::size_t>(i)] = rounded(a.type, x * cos - y * sin);
    out[static_cast<std::size_t>(i + half)] = rounded(a.type, y * cos + x * sin);
  }
  return out;
}

int32_t page_of(const CacheAppendArgs& a, int32_t token) {
  const int32_t sequence = a.sequence[token], position = a.position[token];
  if (sequence < 0 || sequence >= a.batch || position < 0 || position >= kPageTokens * a.max_pages || (a.dim > 0 && position >= a.positions_held)) return -1;
  const int32_t page = a.page_table[sequence * a.page_table_stride + position / kPageTokens];
  return page < a.page_count ? page : -1;
}

}  // namespace

void cache_append(const CacheAppendArgs& a) {
  for (int32_t n = 0; n < a.tokens; ++n) {
    const int32_t page = page_of(a, n), position = a.position[n], row = page < 0 ? 0 : static_cast<int32_t>(position % kPageTokens);
    for (int32_t head = 0; head < a.heads && a.dim > 0; ++head) {
      const int64_t start = n * a.query_stride + head * a.query_head;
      std::vector<float> turned(static_cast<std::size_t>(a.dim), std::numeric_limits<float>::quiet_NaN());
      if (page >= 0) turned = rotated(a, position, a.queries, start, head, a.heads);
      for (int32_t i = 0; i < a.dim; ++i) set_value(a.type, a.queries, start + i, turned[static_cast<std::size_t>(i)]);
    }
    if (page < 0) {
      if (a.faults != nullptr) ++*a.faults;
      continue;
    }
    std::vector<float> plain(static_cast<std::size_t>(a.width));
    for (int32_t i = 0; i < a.width; ++i) plain[static_cast<std::size_t>(i)] = static_cast<float>(value_at(a.type, a.plain, n * a.plain_stride + i));
    if (a.width > 0) put_row(a, a.plain_rows, page, row, 0, plain);
    for (int32_t group = 0; group < a.groups && a.dim > 0; ++group)
      put_row(a, a.rotated_rows, page, row, group, rotated(a, position, a.rotated, n * a.rotated_stride + group * a.dim, group, a.groups));
  }
}

}  // namespace reference
}  // namespace mla::gpu
