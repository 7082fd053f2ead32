#include "core/model/tiled_attention.h"

#if defined(__x86_64__)
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <immintrin.h>

#include <limits>
#include <vector>

namespace mla {
namespace {

constexpr int64_t kPanel = 32;      // columns of a packed operand that lie together: two registers
constexpr int64_t kRows = 8;        // rows of a product held in registers
constexpr int64_t kQueries = 64;    // queries of a task
constexpr int64_t kKeys = 256;      // keys whose scores a task holds
constexpr int64_t kFewQueries = 8;  // fewer leave the rows above empty

constexpr int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// One layer's attention. Operands are packed in words of 32 bits along the summed dim: one fp32 value, or two of bf16.
struct Problem {
  const void *q, *k, *v;
  const float* mask;  // [T,S]; null: causality and window
  void* out;          // [B,T,H,dv]
  int64_t batch, queries, heads, groups, keys, key_dim, value_dim, window;
  int64_t q_stride[3], k_stride[3], v_stride[3];  // of batch, token, head, in values
  float scale;
};

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

struct Fp32 {
  using Value = float;
  static constexpr int64_t kPerWord = 1;
  static __m512 add_product(__m512 sum, __m512i a, __m512i b) { return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum); }
  static void store(float* to, __m512 x, __mmask16 lanes) { _mm512_mask_storeu_ps(to, lanes, x); }
  static void store_words(uint32_t* to, __m512 first, __m512 second) {  // 32 values
    _mm512_storeu_ps(to, first);
    _mm512_storeu_ps(to + 16, second);
  }
};

struct Bf16 {
  using Value = uint16_t;
  static constexpr int64_t kPerWord = 2;
  static __m512 add_product(__m512 sum, __m512i a, __m512i b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
  static void store(uint16_t* to, __m512 x, __mmask16 lanes) { _mm256_mask_storeu_epi16(to, lanes, (__m256i)_mm512_cvtneps_pbh(x)); }
  static void store_words(uint32_t* to, __m512 first, __m512 second) { _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(second, first)); }
};

// e^x for x <= 0, to 2 ulp; 0 below -87, NaN of NaN. x = k ln2 + r, |r| <= ln2/2, and a polynomial of degree 6 in r.
inline __m512 exp_nonpositive(__m512 x) {
  const __m512 k = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_fnmadd_ps(k, _mm512_set1_ps(-2.12194440e-4f), _mm512_fnmadd_ps(k, _mm512_set1_ps(0.693359375f), x));
  __m512 p = _mm512_set1_ps(1.0f / 720.0f);
  for (const float c : {1.0f / 120.0f, 1.0f / 24.0f, 1.0f / 6.0f, 0.5f, 1.0f, 1.0f}) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
  const __mmask16 counts = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.0f), _CMP_NLT_UQ);
  return _mm512_maskz_scalef_ps(counts, p, k);
}

// c [8,32] (+)= a [8,depth] panel [depth,32]
template <class Number, bool add>
void multiply_tile(const uint32_t* a, int64_t a_stride, const uint32_t* panel, int64_t depth, float* c, int64_t c_stride) {
  __m512 sums[kRows][2];
#pragma GCC unroll 8
  for (int64_t r = 0; r < kRows; ++r) {
    sums[r][0] = add ? _mm512_loadu_ps(c + r * c_stride) : _mm512_setzero_ps();
    sums[r][1] = add ? _mm512_loadu_ps(c + r * c_stride + 16) : _mm512_setzero_ps();
  }
  for (int64_t d = 0; d < depth; ++d) {
    const __m512i left = _mm512_loadu_si512(panel + d * kPanel), right = _mm512_loadu_si512(panel + d * kPanel + 16);
#pragma GCC unroll 8
    for (int64_t r = 0; r < kRows; ++r) {
      const __m512i each = _mm512_set1_epi32(static_cast<int>(a[r * a_stride + d]));
      sums[r][0] = Number::add_product(sums[r][0], each, left);
      sums[r][1] = Number::add_product(sums[r][1], each, right);
    }
  }
#pragma GCC unroll 8
  for (int64_t r = 0; r < kRows; ++r) {
    _mm512_storeu_ps(c + r * c_stride, sums[r][0]);
    _mm512_storeu_ps(c + r * c_stride + 16, sums[r][1]);
  }
}

// c [rows,32*panels] (+)= a [rows,depth] b, rows a multiple of 8; b's panels [depth,32] lie `panel_stride` words apart.
template <class Number, bool add>
void multiply(const uint32_t* a, int64_t a_stride, int64_t rows, const uint32_t* b, int64_t panel_stride, int64_t panels, int64_t depth, float* c, int64_t c_stride) {
  for (int64_t panel = 0; panel < panels; ++panel)
    for (int64_t r = 0; r < rows; r += kRows)
      multiply_tile<Number, add>(a + r * a_stride, a_stride, b + panel * panel_stride, depth, c + r * c_stride + panel * kPanel, c_stride);
}

// Keys and values of one batch entry and group as panels: keys [keys/32][dims][32], values [dims/32][keys][32], in words.
template <class Number>
class Packed {
 public:
  using Value = typename Number::Value;
  explicit Packed(const Problem& p)
      : p_(p), key_depth_(round_up(p.key_dim, Number::kPerWord) / Number::kPerWord), padded_keys_(round_up(p.keys, kPanel)),
        value_depth_(padded_keys_ / Number::kPerWord), value_panels_(round_up(p.value_dim, kPanel) / kPanel),
        keys_(static_cast<std::size_t>(p.batch * p.groups * key_size())), values_(static_cast<std::size_t>(p.batch * p.groups * value_size())) {
    at::parallel_for(0, p.batch * p.groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t place = begin; place < end; ++place) pack(place);
    });
  }

  int64_t key_depth() const { return key_depth_; }
  int64_t value_panels() const { return value_panels_; }
  int64_t value_panel_stride() const { return value_depth_ * kPanel; }
  const uint32_t* keys_from(int64_t place, int64_t key) const { return keys_.data() + place * key_size() + key / kPanel * key_panel_stride(); }
  const uint32_t* values_from(int64_t place, int64_t key) const { return values_.data() + place * value_size() + key / Number::kPerWord * kPanel; }
  int64_t key_panel_stride() const { return key_depth_ * kPanel; }

 private:
  int64_t key_size() const { return key_depth_ * padded_keys_; }
  int64_t value_size() const { return value_panels_ * value_panel_stride(); }

  void pack(int64_t place) {
    const int64_t b = place / p_.groups, g = place % p_.groups;
    const Value* k = static_cast<const Value*>(p_.k) + b * p_.k_stride[0] + g * p_.k_stride[2];
    const Value* v = static_cast<const Value*>(p_.v) + b * p_.v_stride[0] + g * p_.v_stride[2];
    auto* keys = reinterpret_cast<Value*>(keys_.data() + place * key_size());
    auto* values = reinterpret_cast<Value*>(values_.data() + place * value_size());
    constexpr int64_t w = Number::kPerWord;
    for (int64_t s = 0; s < p_.keys; ++s) {
      Value* panel = keys + s / kPanel * key_panel_stride() * w + s % kPanel * w;
      for (int64_t d = 0; d < p_.key_dim; ++d) panel[d / w * kPanel * w + d % w] = k[s * p_.k_stride[1] + d];
      for (int64_t d = 0; d < p_.value_dim; ++d)
        values[(d / kPanel * value_panel_stride() + s / w * kPanel + d % kPanel) * w + s % w] = v[s * p_.v_stride[1] + d];
    }
  }

  const Problem& p_;
  int64_t key_depth_, padded_keys_, value_depth_, value_panels_;
  std::vector<uint32_t> keys_, values_;  // what pads them is zero
};

// What a row has seen so far: its largest score and the sum of e^(score - largest).
struct Row {
  float largest = -std::numeric_limits<float>::infinity(), sum = 0;
};

// Scores of one row against `width` keys, of which it sees [from, to), become words of e^(score - largest). Returns what earlier sums
// and values of the row are to be multiplied with.
template <class Number>
float weigh(float* scores, int64_t width, int64_t from, int64_t to, const float* mask, float scale, Row& row) {
  const __m512 hidden = _mm512_set1_ps(-std::numeric_limits<float>::infinity()), scales = _mm512_set1_ps(scale);
  const auto lanes_of = [](int64_t first, int64_t begin, int64_t end) {
    const auto below = [&](int64_t limit) { return limit <= first ? 0u : limit - first >= 16 ? 0xffffu : (1u << (limit - first)) - 1; };
    return static_cast<__mmask16>(below(end) & ~below(begin));
  };
  __m512 largest = hidden;
  for (int64_t i = 0; i < width; i += 16) {
    const __mmask16 seen = lanes_of(i, from, to);
    __m512 score = _mm512_mask_mul_ps(hidden, seen, _mm512_loadu_ps(scores + i), scales);
    if (mask != nullptr) score = _mm512_mask_add_ps(score, seen, score, _mm512_maskz_loadu_ps(seen, mask + i));
    _mm512_storeu_ps(scores + i, score);
    largest = _mm512_max_ps(largest, score);
  }
  const float now = std::max(row.largest, _mm512_reduce_max_ps(largest));
  if (now == -std::numeric_limits<float>::infinity()) {  // nothing seen yet: no weights
    for (int64_t i = 0; i < width; i += 32) Number::store_words(reinterpret_cast<uint32_t*>(scores) + i / Number::kPerWord, _mm512_setzero_ps(), _mm512_setzero_ps());
    return 1;
  }
  const __m512 shift = _mm512_set1_ps(now);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < width; i += 32) {
    const __m512 first = exp_nonpositive(_mm512_sub_ps(_mm512_loadu_ps(scores + i), shift)), second = exp_nonpositive(_mm512_sub_ps(_mm512_loadu_ps(scores + i + 16), shift));
    sum = _mm512_add_ps(sum, _mm512_add_ps(first, second));
    Number::store_words(reinterpret_cast<uint32_t*>(scores) + i / Number::kPerWord, first, second);
  }
  const float factor = std::exp(row.largest - now);
  row.sum = row.sum * factor + _mm512_reduce_add_ps(sum);
  row.largest = now;
  return factor;
}

// One head's block of queries against every key that it sees.
template <class Number>
class Task {
 public:
  using Value = typename Number::Value;
  Task(const Problem& p, const Packed<Number>& packed)
      : p_(p), packed_(packed), width_(packed.value_panels() * kPanel), queries_(static_cast<std::size_t>(kQueries * packed.key_depth())),
        scores_(kQueries * kKeys), mixed_(static_cast<std::size_t>(kQueries * width_)) {}

  void run(int64_t b, int64_t head, int64_t start) {
    const int64_t count = std::min(kQueries, p_.queries - start), rows = round_up(count, kRows), past = p_.keys - p_.queries;
    read_queries(b, head, start, count);
    std::fill(mixed_.begin(), mixed_.end(), 0.0f);
    std::fill(rows_, rows_ + kQueries, Row{});
    const bool masked = p_.mask != nullptr;  // the mask alone says who sees what
    const int64_t last = masked ? p_.keys : past + start + count;
    const int64_t first = masked || p_.window == 0 ? 0 : std::max<int64_t>(0, past + start - p_.window + 1) / kPanel * kPanel;
    const int64_t place = b * p_.groups + head / (p_.heads / p_.groups);
    for (int64_t key = first; key < last; key += kKeys) {
      const int64_t width = round_up(std::min(kKeys, last - key), kPanel);
      multiply<Number, false>(queries_.data(), packed_.key_depth(), rows, packed_.keys_from(place, key), packed_.key_panel_stride(), width / kPanel, packed_.key_depth(), scores_.data(), kKeys);
      for (int64_t r = 0; r < count; ++r) {
        const int64_t position = past + start + r, to = masked ? p_.keys : position + 1, from = masked || p_.window == 0 ? 0 : std::max<int64_t>(0, position - p_.window + 1);
        const float* mask = masked ? p_.mask + (start + r) * p_.keys + key : nullptr;
        const float factor = weigh<Number>(scores_.data() + r * kKeys, width, std::max<int64_t>(0, from - key), std::max<int64_t>(0, to - key), mask, p_.scale, rows_[r]);
        if (factor != 1)
          for (int64_t d = 0; d < width_; ++d) mixed_[static_cast<std::size_t>(r * width_ + d)] *= factor;
      }
      multiply<Number, true>(reinterpret_cast<const uint32_t*>(scores_.data()), kKeys, rows, packed_.values_from(place, key), packed_.value_panel_stride(), packed_.value_panels(),
                             width / Number::kPerWord, mixed_.data(), width_);
    }
    write(b, head, start, count);
  }

 private:
  void read_queries(int64_t b, int64_t head, int64_t start, int64_t count) {
    std::fill(queries_.begin(), queries_.end(), 0u);
    const Value* q = static_cast<const Value*>(p_.q) + b * p_.q_stride[0] + start * p_.q_stride[1] + head * p_.q_stride[2];
    for (int64_t r = 0; r < count; ++r)
      std::copy_n(q + r * p_.q_stride[1], p_.key_dim, reinterpret_cast<Value*>(queries_.data() + r * packed_.key_depth()));
  }

  void write(int64_t b, int64_t head, int64_t start, int64_t count) {
    for (int64_t r = 0; r < count; ++r) {
      Value* out = static_cast<Value*>(p_.out) + ((b * p_.queries + start + r) * p_.heads + head) * p_.value_dim;
      const __m512 share = _mm512_set1_ps(1.0f / rows_[r].sum);
      for (int64_t d = 0; d < p_.value_dim; d += 16)
        Number::store(out + d, _mm512_mul_ps(_mm512_loadu_ps(mixed_.data() + r * width_ + d), share),
                      static_cast<__mmask16>(p_.value_dim - d >= 16 ? 0xffff : (1 << (p_.value_dim - d)) - 1));
    }
  }

  const Problem& p_;
  const Packed<Number>& packed_;
  int64_t width_;
  std::vector<uint32_t> queries_;  // [64, depth]
  std::vector<float> scores_;      // [64, 256], then the weights in words
  std::vector<float> mixed_;       // [64, value width]
  Row rows_[kQueries];
};

template <class Number>
void attend(const Problem& p) {
  const Packed<Number> packed(p);
  const int64_t blocks = (p.queries + kQueries - 1) / kQueries;
  at::parallel_for(0, p.batch * p.heads * blocks, 1, [&](int64_t begin, int64_t end) {
    Task<Number> task(p, packed);
    for (int64_t i = begin; i < end; ++i) task.run(i / (p.heads * blocks), i / blocks % p.heads, i % blocks * kQueries);
  });
}

#pragma GCC pop_options

bool processor_has(at::ScalarType dtype) {
  static const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  static const bool half = wide && __builtin_cpu_supports("avx512bf16");
  return dtype == at::kFloat ? wide : dtype == at::kBFloat16 && half;
}

void strides_of(const at::Tensor& t, int64_t (&strides)[3]) {
  for (int i = 0; i < 3; ++i) strides[i] = t.stride(i);
}

}  // namespace

bool tiled_attention_takes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Scoring& scoring) {
  const auto plain = [&](const at::Tensor& t) { return t.device().is_cpu() && t.scalar_type() == q.scalar_type() && !(at::GradMode::is_enabled() && t.requires_grad()); };
  return plain(q) && plain(k) && plain(v) && q.size(1) >= kFewQueries && q.size(3) > 0 && v.size(3) > 0 && scoring.limits.softcap == 0 && processor_has(q.scalar_type());
}

at::Tensor tiled_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Scoring& scoring) {
  const auto rows = [](const at::Tensor& t) { return t.stride(3) == 1 ? t : t.contiguous(); };
  const at::Tensor query = rows(q), key = rows(k), value = rows(v);
  at::Tensor out = at::empty({q.size(0), q.size(1), q.size(2), v.size(3)}, q.options());
  const at::Tensor mask = scoring.mask.defined() ? scoring.mask.to(at::kFloat).contiguous() : at::Tensor();
  Problem p{query.const_data_ptr(), key.const_data_ptr(), value.const_data_ptr(), mask.defined() ? mask.const_data_ptr<float>() : nullptr, out.mutable_data_ptr(),
            q.size(0), q.size(1), q.size(2), k.size(2), k.size(1), q.size(3), v.size(3), scoring.limits.window, {}, {}, {}, static_cast<float>(scoring.scale)};
  strides_of(query, p.q_stride), strides_of(key, p.k_stride), strides_of(value, p.v_stride);
  if (q.scalar_type() == at::kFloat) attend<Fp32>(p);
  else attend<Bf16>(p);
  return out;
}

}  // namespace mla

#else  // no AVX-512

namespace mla {
bool tiled_attention_takes(const at::Tensor&, const at::Tensor&, const at::Tensor&, const Scoring&) { return false; }
at::Tensor tiled_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Scoring& scoring) { return mixed_values(q, k, v, scoring); }
}  // namespace mla
#endif
