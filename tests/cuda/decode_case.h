// One decode: a cache of scattered pages whose unused rows are NaNs, queries, page tables; the same on the host and on a card.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/cuda/decode.h"
#include "core/cuda/kernels/quantise.h"
#include "core/cuda/paged_cache.h"
#include "core/cuda/typed_values.h"
#include "tests/cuda/backends.h"

namespace mla::test {

struct DecodeCase {
  const char* name;
  gpu::DecodeShape shape;  // batch: of lengths
  std::vector<int32_t> lengths;
  int32_t window = 0;
  float softcap = 0;
  int32_t pages_per_split = 0, stages = 0;  // 0: as planned
  bool plain = false;                       // the plain kernel, whatever the plan
  bool rope_per_group = false;              // rope keys [G,d_R] beside one latent
  gpu::DecodeKernel kernel = gpu::DecodeKernel::fitting;
};

inline gpu::DecodeShape mla_shape(int heads, int rank, int rope, gpu::Type type, gpu::CacheKind kind) {
  return {.heads = heads, .groups = 1, .key_dim = rank, .rope_dim = rope, .value_dim = rank, .type = type, .kind = kind};
}
inline gpu::DecodeShape mla_shape(int heads, int rank, int rope, gpu::Type type) { return mla_shape(heads, rank, rope, type, static_cast<gpu::CacheKind>(type)); }
inline gpu::DecodeShape gqa_shape(int heads, int groups, int head_dim, gpu::Type type) {
  return {.heads = heads, .groups = groups, .key_dim = head_dim, .rope_dim = 0, .value_dim = head_dim, .type = type, .kind = static_cast<gpu::CacheKind>(type), .values_are_keys = false};
}

// Rows [pages, 64, groups, width] of a cache, drawn where a sequence has tokens.
class CacheRows {
 public:
  CacheRows(gpu::CacheKind kind, int32_t group_size, int32_t pages, int32_t groups, int32_t width)
      : kind_(kind), size_(group_size), width_(width), pairs_((width + group_size - 1) / group_size), groups_(groups),
        bytes_(static_cast<std::size_t>(pages * 64 * groups) * static_cast<std::size_t>(gpu::row_bytes(kind, padded())), 0xff),
        affine_(gpu::is_quantised(kind) ? static_cast<std::size_t>(pages * 64 * groups * pairs_ * 4) : 0, 0xff) {}

  void draw_row(int32_t page, int32_t row, Draw& draw) {
    for (int32_t group = 0; group < groups_; ++group) {
      std::vector<float> values;
      for (int32_t i = 0; i < width_; ++i) values.push_back(static_cast<float>(draw.uniform(-1, 1) * (i % 7 == 0 ? 3 : 1)));
      const int64_t line = (static_cast<int64_t>(page) * 64 + row) * groups_ + group;
      if (!gpu::is_quantised(kind_)) {
        for (int32_t i = 0; i < width_; ++i) gpu::set_value(static_cast<gpu::Type>(kind_), bytes_.data(), line * padded() + i, values[static_cast<std::size_t>(i)]);
        continue;
      }
      auto* pair = reinterpret_cast<gpu::Half*>(affine_.data()) + line * pairs_ * 2;
      for (int32_t i = 0; i < width_; ++i) {
        if (i % size_ == 0) {
          const auto begin = values.begin() + i, end = values.begin() + std::min(width_, i + size_);
          const gpu::Affine affine = gpu::affine_of(kind_, *std::min_element(begin, end), *std::max_element(begin, end));
          pair[i / size_ * 2] = affine.scale;
          pair[i / size_ * 2 + 1] = affine.minimum;
        }
        const uint8_t code = gpu::code_of(kind_, {pair[i / size_ * 2], pair[i / size_ * 2 + 1]}, values[static_cast<std::size_t>(i)]);
        const int64_t at = line * padded() + i;
        if (kind_ == gpu::CacheKind::int8) bytes_[static_cast<std::size_t>(at)] = code;
        else bytes_[static_cast<std::size_t>(at / 2)] = at % 2 == 0 ? code : static_cast<unsigned char>(bytes_[static_cast<std::size_t>(at / 2)] | code << 4);
      }
    }
  }
  gpu::PagedRows rows(const void* data, bool shared = false) const { return {data, int64_t{64} * groups_ * padded(), groups_ * int64_t{padded()}, shared ? 0 : padded()}; }
  gpu::PagedRows affine(const void* data) const { return {data, int64_t{64} * groups_ * pairs_ * 2, int64_t{groups_} * pairs_ * 2, groups_ > 1 ? pairs_ * 2 : 0}; }
  const Bytes& bytes() const { return bytes_; }
  const Bytes& pairs() const { return affine_; }

 private:
  int32_t padded() const { return kind_ == gpu::CacheKind::int4 ? (width_ + 1) / 2 * 2 : width_; }
  gpu::CacheKind kind_;
  int32_t size_, width_, pairs_, groups_;
  Bytes bytes_, affine_;
};

struct DecodeResult {
  std::vector<double> out;      // [B,H,value_dim]
  std::vector<float> log_sums;  // [B,H]
};

class DecodeData {
 public:
  explicit DecodeData(const DecodeCase& c, uint64_t seed = 1)
      : case_(c), shape_(c.shape), draw_(seed), max_pages_(1 + (*std::max_element(c.lengths.begin(), c.lengths.end()) + 63) / 64), plan_pages_(count_pages()),
        key_(shape_.kind, shape_.quant_group, plan_pages_, shape_.values_are_keys ? 1 : shape_.groups, shape_.key_dim),
        value_(shape_.kind, shape_.quant_group, plan_pages_, shape_.groups, shape_.values_are_keys ? 1 : shape_.value_dim),
        rope_(static_cast<gpu::CacheKind>(shape_.type), 64, plan_pages_, c.rope_per_group ? shape_.groups : 1, std::max(1, shape_.rope_dim)) {
    shape_.batch = static_cast<int32_t>(c.lengths.size());
    fill_cache();
    q = drawn(shape_.key_dim);
    q_rope = drawn(std::max(8, shape_.rope_dim));
  }

  // fp64 results before rounding to the dtype.
  DecodeResult reference() const {
    const gpu::DecodeArgs a = host_args();
    DecodeResult result;
    for (int32_t b = 0; b < shape_.batch; ++b)
      for (int32_t head = 0; head < shape_.heads; ++head) {
        const gpu::reference::Partial part = gpu::reference::decode_range(a, b, head, gpu::first_visible(lengths[static_cast<std::size_t>(b)], a.window), lengths[static_cast<std::size_t>(b)]);
        result.out.insert(result.out.end(), part.out.begin(), part.out.end());
        result.log_sums.push_back(static_cast<float>(part.log_sum));
      }
    return result;
  }

  // Scores, weights and results rounded to the dtype one after another, sums in fp64: no unfused computation of the dtype is nearer.
  std::vector<double> unfused() const {
    const gpu::DecodeArgs a = host_args();
    std::vector<double> out;
    for (int32_t b = 0; b < shape_.batch; ++b)
      for (int32_t head = 0; head < shape_.heads; ++head) {
        std::vector<gpu::reference::Partial> tokens;
        double largest = -INFINITY, sum = 0;
        const int32_t length = lengths[static_cast<std::size_t>(b)];
        for (int32_t t = gpu::first_visible(length, a.window); t < length; ++t) {
          tokens.push_back(gpu::reference::decode_range(a, b, head, t, t + 1));
          tokens.back().log_sum = gpu::rounded(shape_.type, tokens.back().log_sum);
          largest = std::max(largest, tokens.back().log_sum);
        }
        for (const auto& token : tokens) sum += std::exp(token.log_sum - largest);
        std::vector<double> row(static_cast<std::size_t>(shape_.value_dim));
        for (const auto& token : tokens)
          for (std::size_t d = 0; d < row.size(); ++d) row[d] += gpu::rounded(shape_.type, std::exp(token.log_sum - largest) / sum) * token.out[d];
        for (double x : row) out.push_back(gpu::rounded(shape_.type, x));
      }
    return out;
  }

  gpu::DecodePlan plan(const gpu::Operators& operators) const {
    gpu::CardLimits card = case_.plain ? gpu::CardLimits{4, 0, false} : limits(operators);
    card.kernel = case_.kernel;
    gpu::DecodePlan plan = gpu::plan_decode(shape_, case_.lengths, case_.window, card);
    if (case_.pages_per_split > 0) {
      plan.pages_per_split = case_.pages_per_split;
      plan.max_splits = 1;
      for (int32_t length : case_.lengths) plan.max_splits = std::max(plan.max_splits, gpu::split_count(gpu::visible_pages(length, case_.window), plan.pages_per_split));
      plan.workspace_bytes = int64_t{4} * shape_.batch * shape_.heads * plan.max_splits * (shape_.value_dim + 1);
    }
    return plan;
  }

  DecodeResult run(const gpu::Operators& operators, const gpu::DecodePlan& plan) const {
    const OnCard<unsigned char> key(operators, key_.bytes()), value(operators, value_.bytes()), rope(operators, rope_.bytes()), affine(operators, key_.pairs()), value_affine(operators, value_.pairs());
    const OnCard<unsigned char> query(operators, q), rope_query(operators, q_rope);
    const OnCard<int32_t> pages(operators, table), ends(operators, lengths);
    const std::size_t rows = static_cast<std::size_t>(shape_.batch * shape_.heads), values = rows * static_cast<std::size_t>(shape_.value_dim);
    const OnCard<unsigned char> out(operators, Bytes(values * static_cast<std::size_t>(gpu::bytes_of(shape_.type)), 0xff));
    const OnCard<float> log_sums(operators, std::vector<float>(rows, NAN));
    const OnCard<unsigned char> workspace(operators, Bytes(static_cast<std::size_t>(plan.workspace_bytes), 0xff));
    gpu::DecodeArgs a = args(key.data(), value.data(), rope.data(), affine.data(), value_affine.data());
    a.plan = plan;
    a.q = query.data(), a.q_rope = rope_query.data(), a.page_table = pages.data(), a.lengths = ends.data();
    a.out = out.data(), a.log_sum = log_sums.data(), a.workspace = workspace.data();
    operators.decode(a, nullptr);
    operators.synchronize();
    DecodeResult result{{}, log_sums.read()};
    const Bytes bytes = out.read();
    for (std::size_t i = 0; i < values; ++i) result.out.push_back(gpu::value_at(shape_.type, bytes.data(), static_cast<int64_t>(i)));
    return result;
  }

  gpu::DecodeArgs host_args() const {
    gpu::DecodeArgs a = args(key_.bytes().data(), value_.bytes().data(), rope_.bytes().data(), key_.pairs().data(), value_.pairs().data());
    a.q = q.data(), a.q_rope = q_rope.data(), a.page_table = table.data(), a.lengths = lengths.data();
    return a;
  }
  const gpu::DecodeShape& shape() const { return shape_; }

  std::vector<int32_t> table, lengths;  // as the card gets them
  Bytes q, q_rope;

 private:
  int32_t count_pages() const {
    int32_t pages = 2;  // two that nobody owns
    for (int32_t length : case_.lengths) pages += (length + 63) / 64;
    return pages;
  }
  void fill_cache() {
    gpu::PagedCachePlan plan(shape_.batch, plan_pages_, max_pages_);
    for (bool more = true; more;) {  // in turns, so that a sequence's pages do not follow one another
      more = false;
      for (int32_t b = 0; b < shape_.batch; ++b)
        if (const int32_t left = case_.lengths[static_cast<std::size_t>(b)] - plan.length(b); left > 0) plan.append(b, std::min(64, left)), more = true;
    }
    table = plan.page_table();
    lengths = case_.lengths;
    for (int32_t b = 0; b < shape_.batch; ++b)
      for (int32_t t = 0; t < plan.length(b); ++t) {
        const int32_t page = table[static_cast<std::size_t>(b * max_pages_ + t / 64)];
        key_.draw_row(page, t % 64, draw_);
        rope_.draw_row(page, t % 64, draw_);
        if (!shape_.values_are_keys) value_.draw_row(page, t % 64, draw_);
      }
  }
  Bytes drawn(int32_t width) {
    const int64_t count = static_cast<int64_t>(shape_.batch) * shape_.heads * width;
    Bytes bytes(static_cast<std::size_t>(count * gpu::bytes_of(shape_.type)));
    for (int64_t i = 0; i < count; ++i) gpu::set_value(shape_.type, bytes.data(), i, draw_.uniform(-1, 1));
    return bytes;
  }
  gpu::DecodeArgs args(const void* key, const void* value, const void* rope, const void* affine, const void* value_affine) const {
    gpu::DecodeArgs a;
    a.shape = shape_;
    a.scale = 2.0f / std::sqrt(static_cast<float>(shape_.key_dim + shape_.rope_dim));
    a.softcap = case_.softcap;
    a.window = case_.window;
    const int64_t rope_width = std::max(8, shape_.rope_dim);
    a.q_batch = static_cast<int64_t>(shape_.heads) * shape_.key_dim, a.q_head = shape_.key_dim;
    a.q_rope_batch = shape_.heads * rope_width, a.q_rope_head = rope_width;
    a.key = key_.rows(key, shape_.values_are_keys);
    a.value = value_.rows(value);
    a.rope = rope_.rows(rope, !case_.rope_per_group);
    a.affine = key_.affine(affine);
    a.value_affine = value_.affine(value_affine);
    a.page_table_stride = a.max_pages = max_pages_;
    a.page_count = plan_pages_;
    a.out_batch = static_cast<int64_t>(shape_.heads) * shape_.value_dim, a.out_head = shape_.value_dim;
    return a;
  }

  DecodeCase case_;
  gpu::DecodeShape shape_;
  Draw draw_;
  int32_t max_pages_, plan_pages_;
  CacheRows key_, value_, rope_;
};

}  // namespace mla::test
