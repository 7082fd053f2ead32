#include "core/model/cpu_kernels.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#define MLA_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))

namespace mla {
namespace {

MLA_CLONES void rms_norm_row(const float* x, const float* weight, float eps, int64_t n, float* out) {
  constexpr int kLanes = 32;
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) lanes[l] += x[i + l] * x[i + l];
  float sum = 0;
  for (float lane : lanes) sum += lane;
  for (; i < n; ++i) sum += x[i] * x[i];
  const float factor = 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
  for (i = 0; i < n; ++i) out[i] = x[i] * factor * weight[i];
}

MLA_CLONES void rotate_row(const float* x, const float* cos, const float* sin, int64_t half, float* out) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    out[i] = a * cos[i] - b * sin[i];
    out[i + half] = b * cos[i] + a * sin[i];
  }
}

// ATen's operators where a gradient is asked for: the loops have none.
bool wants_gradient(const at::Tensor& x) { return at::GradMode::is_enabled() && x.requires_grad(); }
bool own_loops(const at::Tensor& x) { return x.device().is_cpu() && x.scalar_type() == at::kFloat && !wants_gradient(x); }

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (!own_loops(x) || weight.scalar_type() != at::kFloat || wants_gradient(weight)) {
    const at::Tensor wide = x.to(at::kFloat);
    if (weight.scalar_type() == at::kFloat) return (wide * at::rsqrt(wide.square().mean(-1, true) + eps) * weight).to(x.scalar_type());
    return (wide * at::rsqrt(wide.square().mean(-1, true) + eps)).to(x.scalar_type()) * weight;
  }
  const at::Tensor in = x.contiguous();
  at::Tensor out = at::empty_like(in);
  const int64_t width = in.size(-1), rows = in.numel() / width;
  const float *source = in.const_data_ptr<float>(), *scale = weight.const_data_ptr<float>();
  float* target = out.data_ptr<float>();
  at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      rms_norm_row(source + row * width, scale, static_cast<float>(eps), width, target + row * width);
  });
  return out;
}

namespace {

at::Tensor activated(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::silu: return at::silu(x);
    case Activation::gelu_tanh: return at::gelu(x, "tanh");
    case Activation::gelu: return at::gelu(x);
  }
  return {};
}

}  // namespace

at::Tensor gated(const at::Tensor& gate_up, Activation activation) {
  const int64_t inner = gate_up.size(-1) / 2;
  at::Tensor gate = gate_up.narrow(-1, 0, inner);
  const at::Tensor up = gate_up.narrow(-1, inner, inner);
  if (wants_gradient(gate_up) || activation != Activation::silu) return activated(gate, activation) * up;
  at::silu_(gate);  // in place: gate_up is a fresh GEMM result
  return gate.mul_(up);
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
  const float *source = in.const_data_ptr<float>(), *cos = table.cos.const_data_ptr<float>(), *sin = table.sin.const_data_ptr<float>();
  float* target = out.data_ptr<float>();
  at::parallel_for(0, in.size(0) * tokens, 32, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t n = 0; n < heads; ++n) {
        const int64_t b = row / tokens, t = row % tokens, angle = (t * rope_heads + n / share) * half;
        rotate_row(source + b * stride_b + t * stride_t + n * stride_n, cos + angle, sin + angle, half,
                   target + (row * heads + n) * 2 * half);
      }
  });
  return out;
}

}  // namespace mla
