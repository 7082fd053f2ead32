#include <cmath>
#include <limits>

#include "core/cuda/decode.h"
#include "core/cuda/kernels/cache_reader.h"
#include "core/cuda/typed_values.h"

namespace mla::gpu::reference {
namespace {

double cached(CacheKind kind, const PagedRows& rows, const PagedRows& affine, int32_t group_size, CacheRow row, int32_t dim) {
  const int64_t start = row_start(rows, row);
  if (!is_quantised(kind)) return value_at(static_cast<Type>(kind), rows.data, start + dim);
  const auto* pair = static_cast<const Half*>(affine.data) + row_start(affine, row) + 2 * (dim / group_size);
  return static_cast<double>(code_at(kind, rows.data, start + dim)) * to_float(pair[0]) + to_float(pair[1]);
}

// The row of a token; page -1 where the tables are wrong.
CacheRow row_of(const DecodeArgs& a, int32_t sequence, int32_t token, int32_t group) {
  const auto n = static_cast<int32_t>(token / kPageTokens);
  const int32_t page = n < a.max_pages ? a.page_table[sequence * a.page_table_stride + n] : -1;
  return {page < a.page_count ? page : -1, static_cast<int32_t>(token % kPageTokens), group};
}

}  // namespace

Partial decode_range(const DecodeArgs& a, int32_t sequence, int32_t head, int32_t first, int32_t end) {
  const DecodeShape& s = a.shape;
  const int32_t group = head / (s.heads / s.groups);
  std::vector<double> scores;
  double largest = -std::numeric_limits<double>::infinity();
  for (int32_t t = first; t < end; ++t) {
    const CacheRow row = row_of(a, sequence, t, group);
    double dot = row.page < 0 ? std::numeric_limits<double>::quiet_NaN() : 0;
    for (int32_t d = 0; d < s.key_dim && row.page >= 0; ++d)
      dot += value_at(s.type, a.q, sequence * a.q_batch + head * a.q_head + d) * cached(s.kind, a.key, a.affine, s.quant_group, row, d);
    for (int32_t d = 0; d < s.rope_dim && row.page >= 0; ++d)
      dot += value_at(s.type, a.q_rope, sequence * a.q_rope_batch + head * a.q_rope_head + d) * value_at(s.type, a.rope.data, row_start(a.rope, row) + d);
    double score = dot * a.scale;
    if (a.softcap > 0) score = a.softcap * std::tanh(score / a.softcap);
    scores.push_back(score);
    if (!(score <= largest)) largest = score;  // a NaN stays
  }
  Partial part{std::vector<double>(static_cast<std::size_t>(s.value_dim)), -std::numeric_limits<double>::infinity()};
  if (scores.empty()) return part;
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - largest);
  part.log_sum = largest + std::log(sum);
  const PagedRows &values = s.values_are_keys ? a.key : a.value, &affine = s.values_are_keys ? a.affine : a.value_affine;
  for (int32_t t = first; t < end; ++t) {
    const CacheRow row = row_of(a, sequence, t, group);
    for (int32_t d = 0; d < s.value_dim; ++d)
      part.out[static_cast<std::size_t>(d)] += row.page < 0 ? std::numeric_limits<double>::quiet_NaN()
                                                            : scores[static_cast<std::size_t>(t - first)] / sum * cached(s.kind, values, affine, s.quant_group, row, d);
  }
  return part;
}

Partial combine(const std::vector<Partial>& parts) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const Partial& part : parts) largest = std::max(largest, part.log_sum);
  Partial all{std::vector<double>(parts.front().out.size()), largest};
  if (std::isinf(largest)) return all;  // nothing was seen
  for (const Partial& part : parts) sum += std::exp(part.log_sum - largest);
  all.log_sum = largest + std::log(sum);
  for (const Partial& part : parts)
    for (std::size_t d = 0; d < all.out.size(); ++d) all.out[d] += std::exp(part.log_sum - all.log_sum) * part.out[d];
  return all;
}

void decode(const DecodeArgs& a) {
  for (int32_t b = 0; b < a.shape.batch; ++b)
    for (int32_t head = 0; head < a.shape.heads; ++head) {
      const int32_t length = a.lengths[b];
      Partial part = decode_range(a, b, head, first_visible(length, a.window), length);
      if (length > kPageTokens * a.max_pages) part = {std::vector<double>(part.out.size(), std::numeric_limits<double>::quiet_NaN()), std::numeric_limits<double>::quiet_NaN()};
      for (int32_t d = 0; d < a.shape.value_dim; ++d) set_value(a.shape.type, a.out, b * a.out_batch + head * a.out_head + d, part.out[static_cast<std::size_t>(d)]);
      if (a.log_sum != nullptr) a.log_sum[b * a.shape.heads + head] = static_cast<float>(part.log_sum);
    }
}

}  // namespace mla::gpu::reference
