#include "core/model/rope_plan.h"

#include <cmath>
#include <numbers>

#include "core/base/error.h"

namespace mla {
namespace {

at::Tensor tensor_of(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

// Long waves are stretched by `factor`, short ones stay, between them the share grows linearly in the frequency (Llama 3.1).
at::Tensor llama3(const at::Tensor& plain, const RopeScaling& s) {
  const auto length = static_cast<double>(s.original_length);
  const at::Tensor waves = 2 * std::numbers::pi / plain;
  const at::Tensor share = (length / waves - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);  // of the unscaled one
  const at::Tensor mixed = (1 - share) * plain / s.factor + share * plain;
  const at::Tensor stretched = at::where(waves > length / s.low_freq_factor, plain / s.factor, mixed);
  return at::where(waves < length / s.high_freq_factor, plain, stretched);
}

// YaRN (arXiv 2309.00071, section 3.2): pairs that turn often within the original length stay, those that turn rarely are stretched, with
// a linear ramp over pair numbers between them.
at::Tensor yarn(const at::Tensor& plain, double theta, const RopeScaling& s) {
  const int64_t dims = 2 * plain.size(0);
  const auto pair_of_turns = [&](double turns) {
    return static_cast<double>(dims) * std::log(static_cast<double>(s.original_length) / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  double low = pair_of_turns(s.beta_fast), high = pair_of_turns(s.beta_slow);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dims - 1));
  if (low == high) high += 0.001;
  const at::Tensor stretched = ((at::arange(plain.size(0), at::kDouble) - low) / (high - low)).clamp(0, 1);
  return plain / s.factor * stretched + plain * (1 - stretched);
}

RopePlan rotated_plan(const ModelConfig& c, int64_t dims) {
  const at::Tensor plain = standard_inv_freq(c.rope_theta, dims);
  const RopeScaling& s = c.rope;
  RopePlan plan{.inv_freq = plain, .attention_factor = s.attention_factor};
  switch (s.kind) {
    case RopeKind::plain: break;
    case RopeKind::linear: plan.inv_freq = plain / s.factor; break;
    case RopeKind::llama3: plan.inv_freq = llama3(plain, s); break;
    case RopeKind::yarn: plan.inv_freq = yarn(plain, c.rope_theta, s); break;
    case RopeKind::dynamic:
      if (dims < 4) fail<ConfigError>("rope", "wanted heads of at least 4 dims for dynamic scaling, got ", dims);
      plan.short_length = s.original_length;
      plan.stretch = at::arange(0, dims, 2, at::TensorOptions(at::kDouble)) / static_cast<double>(dims - 2);
      plan.stretch_factor = s.factor;
      break;
    case RopeKind::longrope:
      plan.inv_freq = plain / tensor_of(s.short_factor);
      if (s.short_factor == s.long_factor) break;  // the same at every length
      plan.short_length = s.original_length;
      plan.long_inv_freq = plain / tensor_of(s.long_factor);
      break;
  }
  return plan;
}

}  // namespace

RopePlan rope_plan(const ModelConfig& c, int64_t dims) {
  const int64_t own = c.head_dim, rotated = c.rotated();
  if (dims != own && (rotated != own || c.rope.kind == RopeKind::longrope))
    fail<ConfigError>("rope", "wanted rotary keys of head_dim = ", own, " dims: this model's frequencies are given for that width alone",
                      rotated != own ? " (it rotates " + std::to_string(rotated) + " of them)" : std::string(), ", got ", dims);
  RopePlan plan = rotated_plan(c, dims == own ? rotated : dims);
  plan.each([&](at::Tensor& t) { t = at::constant_pad_nd(t, {0, dims / 2 - t.size(0)}).unsqueeze(0); });
  return plan;
}

at::Tensor rotary_order(int64_t head_dim, int64_t rotated) {
  const at::Tensor dims = at::arange(head_dim, at::kLong), turned = dims.narrow(0, 0, rotated), others = dims.slice(0, rotated);
  const int64_t half = rotated / 2, still = (head_dim - rotated) / 2;
  return at::cat({turned.narrow(0, 0, half), others.narrow(0, 0, still), turned.slice(0, half), others.slice(0, still)});
}

}  // namespace mla
