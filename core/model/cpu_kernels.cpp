#include "core/model/cpu_kernels.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include "core/tensor/loops.h"

namespace mla {
namespace {

// ---- one row each, in fp32 and in bf16 (as its bits) ------------------------------------------------------------------

constexpr int64_t kLanes = 64;

MLA_CLONES float rms_factor(const float* x, float eps, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += x[i + l] * x[i + l];
  float sum = 0;
  for (float lane : lanes) sum += lane;
  for (; i < n; ++i) sum += x[i] * x[i];
  return 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
}
MLA_CLONES float rms_factor(const uint16_t* x, float eps, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += widen(x[i + l]) * widen(x[i + l]);
  float sum = 0;
  for (float lane : lanes) sum += lane;
  for (; i < n; ++i) sum += widen(x[i]) * widen(x[i]);
  return 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
}

MLA_CLONES void scale_row(const float* x, float factor, const float* weight, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * factor * weight[i];
}
MLA_CLONES void scale_row(const uint16_t* x, float factor, const uint16_t* weight, int64_t n, uint16_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = round_bf16(widen(round_bf16(widen(x[i]) * factor)) * widen(weight[i]));
}
MLA_CLONES void scale_row(const uint16_t* x, float factor, const float* weight, int64_t n, uint16_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = round_bf16(widen(x[i]) * factor * weight[i]);
}

MLA_CLONES void rotate_row(const float* x, const float* cos, const float* sin, int64_t half, float* out) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    out[i] = a * cos[i] - b * sin[i];
    out[i + half] = b * cos[i] + a * sin[i];
  }
}
MLA_CLONES void rotate_row(const uint16_t* x, const float* cos, const float* sin, int64_t half, uint16_t* out) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = widen(x[i]), b = widen(x[i + half]);
    out[i] = round_bf16(a * cos[i] - b * sin[i]);
    out[i + half] = round_bf16(b * cos[i] + a * sin[i]);
  }
}

MLA_CLONES void gate_row(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = silu(gate[i]) * up[i];
}
MLA_CLONES void gate_row(const uint16_t* gate, const uint16_t* up, int64_t n, uint16_t* out) {
  float activated[kLanes];  // two loops, as GCC 12 vectorises no one that both activates and rounds
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t count = n - i < kLanes ? n - i : kLanes;
    for (int64_t l = 0; l < count; ++l) activated[l] = silu(widen(gate[i + l]));
    for (int64_t l = 0; l < count; ++l) out[i + l] = round_bf16(widen(round_bf16(activated[l])) * widen(up[i + l]));
  }
}

// ---- rows of tensors --------------------------------------------------------------------------------------------------

// ATen's operators where a gradient is asked for: the loops have none.
bool wants_gradient(const at::Tensor& x) { return at::GradMode::is_enabled() && x.requires_grad(); }
bool own_loops(const at::Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && !wants_gradient(x);
}

template <class Value>
const Value* values(const at::Tensor& t) { return static_cast<const Value*>(t.const_data_ptr()); }
template <class Value>
Value* values_of(at::Tensor& t) { return static_cast<Value*>(t.mutable_data_ptr()); }

// Calls work(float or uint16_t) with a value of the type that the tensor's bits are read as.
template <class Work>
void by_type(const at::Tensor& x, const Work& work) {
  if (x.scalar_type() == at::kFloat) work(float{});
  else work(uint16_t{});
}

template <class Value, class Weight>
void norm_rows(const at::Tensor& in, const at::Tensor& weight, float eps, at::Tensor& out) {
  const int64_t width = in.size(-1);
  const Value* source = values<Value>(in);
  const Weight* scale = values<Weight>(weight);
  Value* target = values_of<Value>(out);
  at::parallel_for(0, in.numel() / width, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Value* x = source + row * width;
      scale_row(x, rms_factor(x, eps, width), scale, width, target + row * width);
    }
  });
}

at::Tensor activated(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::silu: return at::silu(x);
    case Activation::gelu_tanh: return at::gelu(x, "tanh");
    case Activation::gelu: return at::gelu(x);
  }
  return {};
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const bool wide = weight.scalar_type() == at::kFloat;
  if (!own_loops(x) || wants_gradient(weight) || x.size(-1) == 0 || (!wide && weight.scalar_type() != x.scalar_type())) {
    const at::Tensor in_fp32 = x.to(at::kFloat), normed = in_fp32 * at::rsqrt(in_fp32.square().mean(-1, true) + eps);
    return wide ? (normed * weight).to(x.scalar_type()) : normed.to(x.scalar_type()) * weight;
  }
  const at::Tensor in = x.contiguous(), scale = weight.contiguous();
  at::Tensor out = at::empty_like(in);
  const auto small = static_cast<float>(eps);
  if (x.scalar_type() == at::kFloat) norm_rows<float, float>(in, scale, small, out);
  else if (wide) norm_rows<uint16_t, float>(in, scale, small, out);
  else norm_rows<uint16_t, uint16_t>(in, scale, small, out);
  return out;
}

at::Tensor gated(const at::Tensor& gate_up, Activation activation) {
  const int64_t inner = gate_up.size(-1) / 2;
  if (!own_loops(gate_up) || activation != Activation::silu)
    return activated(gate_up.narrow(-1, 0, inner), activation) * gate_up.narrow(-1, inner, inner);
  const at::Tensor in = gate_up.contiguous();
  std::vector<int64_t> sizes = in.sizes().vec();
  sizes.back() = inner;
  at::Tensor out = at::empty(sizes, in.options());
  by_type(in, [&]<class Value>(Value) {
    const Value* source = values<Value>(in);
    Value* target = values_of<Value>(out);
    at::parallel_for(0, inner == 0 ? 0 : out.numel() / inner, 32, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) gate_row(source + 2 * row * inner, source + (2 * row + 1) * inner, inner, target + row * inner);
    });
  });
  return out;
}

at::Tensor apply_rope(const at::Tensor& x, const RopeTable& table) {
  const int64_t heads = x.size(2), rope_heads = table.cos.size(1), half = table.cos.size(2), share = heads / rope_heads;
  if (!own_loops(x)) {
    const at::Tensor cos = table.cos.repeat_interleave(share, 1).unsqueeze(0), sin = table.sin.repeat_interleave(share, 1).unsqueeze(0);
    const at::Tensor wide = x.to(at::kFloat), a = wide.narrow(-1, 0, half), b = wide.narrow(-1, half, half);
    return at::cat({a * cos - b * sin, b * cos + a * sin}, -1).to(x.scalar_type());
  }
  const at::Tensor in = x.stride(3) == 1 ? x : x.contiguous();
  at::Tensor out = at::empty(in.sizes(), in.options());
  const int64_t tokens = in.size(1), stride_b = in.stride(0), stride_t = in.stride(1), stride_n = in.stride(2);
  const float *cos = table.cos.const_data_ptr<float>(), *sin = table.sin.const_data_ptr<float>();
  by_type(in, [&]<class Value>(Value) {
    const Value* source = values<Value>(in);
    Value* target = values_of<Value>(out);
    at::parallel_for(0, in.size(0) * tokens, 32, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t n = 0; n < heads; ++n) {
          const int64_t b = row / tokens, t = row % tokens, angle = (t * rope_heads + n / share) * half;
          rotate_row(source + b * stride_b + t * stride_t + n * stride_n, cos + angle, sin + angle, half, target + (row * heads + n) * 2 * half);
        }
    });
  });
  return out;
}

}  // namespace mla
