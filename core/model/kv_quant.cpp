#include "core/model/kv_quant.h"

#include <cmath>
#include <limits>

#include "core/base/error.h"

namespace mla {
namespace {

constexpr double kFlat = 1e-4;         // HQQ: a group narrower than this gets the scale 1
constexpr double kLargestInverse = 2e4;  // HQQ: 1/scale stays below, so that half precision holds it
constexpr double kNorm = 0.7, kBeta = 10;  // of HQQ's solver; the growth of beta that its parameters name is not applied in 0.2.8
constexpr int kRounds = 20;

void check(const QuantFormat& format) {
  if (format.bits != 8 && format.bits != 4 && format.bits != 2) fail<ConfigError>("kv_cache", "wanted 8, 4 or 2 bits, got ", format.bits);
  if (format.group < 1) fail<ConfigError>("kv_cache", "wanted a group of at least one value, got ", format.group);
  if (format.scales != at::kHalf && format.scales != at::kFloat) fail<ConfigError>("kv_cache", "wanted scales of fp16 or fp32, got ", at::toString(format.scales));
}

// x [B,T,width] -> groups along the last dim, and what brings them back. Token: [B,T,n,group], the last group filled up with its last
// value, which changes neither minimum nor maximum. Channel: [B,T/group,width,group].
at::Tensor grouped(const at::Tensor& x, const QuantFormat& format) {
  if (format.axis == QuantAxis::channel) return x.unflatten(1, {-1, format.group}).transpose(2, 3);
  const int64_t missing = (format.group - x.size(2) % format.group) % format.group;
  const at::Tensor last = x.narrow(2, x.size(2) - 1, 1).expand({-1, -1, missing});
  return (missing > 0 ? at::cat({x, last}, 2) : x).unflatten(2, {-1, format.group});
}
at::Tensor ungrouped(const at::Tensor& groups, const QuantFormat& format, int64_t width) {
  if (format.axis == QuantAxis::channel) return groups.transpose(2, 3).flatten(1, 2);
  return groups.flatten(2).narrow(2, 0, width);
}

// The largest fp16 number that is not above x. Plain rounding could leave a group's smallest or largest value outside of what the codes
// reach, and the error bound of half a step would not hold.
at::Tensor half_below(const at::Tensor& x) {
  const at::Tensor near = x.to(at::kHalf), bits = near.view(at::kShort);
  const at::Tensor under_zero = at::full({}, -32767, bits.options());  // 0x8001, the negative number next to 0
  const at::Tensor next = at::where(near.gt(0), bits - 1, at::where(near.lt(0), bits + 1, under_zero)).view(at::kHalf);
  return at::where(near.to(at::kFloat).gt(x), next, near);
}
at::Tensor stored_below(const at::Tensor& x, at::ScalarType type) { return type == at::kHalf ? half_below(x) : x; }
at::Tensor stored_above(const at::Tensor& x, at::ScalarType type) { return type == at::kHalf ? -half_below(-x) : x; }

struct Affine {
  at::Tensor scale, minimum;  // of the stored type, [..., 1]
};

Affine from_range(const at::Tensor& groups, const QuantFormat& format) {
  const double top = (1 << format.bits) - 1;
  const at::Tensor minimum = stored_below(groups.amin(-1, true), format.scales);
  const at::Tensor scale = stored_above((groups.amax(-1, true) - minimum.to(at::kFloat)) / top, format.scales);
  return {scale, minimum};
}

// sign(x) * max(0, |x| - |x|^(p-1) / beta)
at::Tensor shrink(const at::Tensor& x) {
  const at::Tensor size = x.abs();
  return (size - size.pow(kNorm - 1) / kBeta).clamp_min(0) * x.sign();
}

// HQQ's half-quadratic solver in fp32. It stops as soon as the mean error no longer shrinks, there over all that it is given, here for each
// row of groups [.., .., groups, group] by itself: a token's codes must not depend on those that came with it.
Affine from_half_quadratic(const at::Tensor& groups, const QuantFormat& format) {
  const double top = (1 << format.bits) - 1;
  const at::Tensor minimum = groups.amin(-1, true), range = groups.amax(-1, true) - minimum;
  const at::Tensor inverse = at::where(range.le(kFlat), at::ones_like(range), top / range).clamp_max(kLargestInverse);
  at::Tensor zero = -minimum * inverse;
  at::Tensor best = at::full({}, std::numeric_limits<float>::infinity(), groups.options()), going;
  for (int round = 0; round < kRounds; ++round) {
    const at::Tensor codes = (groups * inverse + zero).round().clamp(0, top), back = (codes - zero) / inverse;
    const at::Tensor better = (codes - (groups - shrink(groups - back)) * inverse).mean(-1, true);
    zero = going.defined() ? at::where(going, better, zero) : better;
    const at::Tensor error = (groups - back).abs().mean({2, 3}, true), smaller = error.lt(best);
    going = going.defined() ? going.logical_and(smaller) : smaller;
    if (!going.any().item<bool>()) break;
    best = error;
  }
  return {(1 / inverse).to(format.scales), (-zero / inverse).to(format.scales)};
}

at::Tensor nearest_codes(const at::Tensor& groups, const Affine& affine, int bits) {
  const at::Tensor scale = affine.scale.to(at::kFloat);
  const at::Tensor steps = (groups - affine.minimum.to(at::kFloat)) / at::where(scale.eq(0), at::ones_like(scale), scale);  // a flat group: code 0
  return steps.round().clamp(0, (1 << bits) - 1).to(at::kByte);
}

}  // namespace

int64_t QuantBlock::bytes() const {
  int64_t sum = 0;
  for (const at::Tensor* t : {&codes, &scale, &minimum})
    if (t->defined()) sum += t->numel() * static_cast<int64_t>(t->element_size());
  return sum;
}

QuantBlock quantize(const at::Tensor& x, const QuantFormat& format) {
  check(format);
  if (x.dim() != 3 || (format.axis == QuantAxis::channel && x.size(1) % format.group != 0))
    fail<ShapeError>("kv_cache", "wanted [B,T,width]", format.axis == QuantAxis::channel ? ", T a multiple of " + std::to_string(format.group) : std::string(), ", got ", x.sizes());
  if (x.numel() == 0) fail<ShapeError>("kv_cache", "wanted at least one value to quantise, got ", x.sizes());
  const at::Tensor groups = grouped(x.to(at::kFloat), format);
  const Affine affine = format.rule == QuantRule::quanto ? from_range(groups, format) : from_half_quadratic(groups, format);
  if (!at::isfinite(affine.scale).all().item<bool>() || !at::isfinite(affine.minimum).all().item<bool>())
    fail<NumericalError>("kv_cache", "wanted scales within the range of ", at::toString(format.scales), ", got one beyond it; use --kv-scales fp32");
  const at::Tensor codes = ungrouped(nearest_codes(groups, affine, format.bits), format, x.size(2));
  return {pack_codes(codes, format.bits), affine.scale.squeeze(-1), affine.minimum.squeeze(-1)};
}

at::Tensor dequantize(const QuantBlock& block, const QuantFormat& format, int64_t width, at::ScalarType dtype) {
  const at::Tensor codes = unpack_codes(block.codes, format.bits, width).to(at::kFloat);
  const at::Tensor scale = block.scale.to(at::kFloat), minimum = block.minimum.to(at::kFloat);
  if (format.axis == QuantAxis::channel)
    return at::addcmul(minimum.unsqueeze(2), codes.unflatten(1, {-1, format.group}), scale.unsqueeze(2)).flatten(1, 2).to(dtype);
  if (width % format.group == 0) return at::addcmul(minimum.unsqueeze(3), codes.unflatten(2, {-1, format.group}), scale.unsqueeze(3)).flatten(2).to(dtype);
  const auto spread = [&](const at::Tensor& t) { return t.repeat_interleave(format.group, 2).narrow(2, 0, width); };
  return at::addcmul(spread(minimum), codes, spread(scale)).to(dtype);
}

at::Tensor pack_codes(const at::Tensor& codes, int bits) {
  const int64_t per_byte = 8 / bits, missing = (per_byte - codes.size(-1) % per_byte) % per_byte;
  const at::Tensor whole = (missing > 0 ? at::constant_pad_nd(codes, {0, missing}) : codes).unflatten(-1, {-1, per_byte});
  at::Tensor bytes = whole.select(-1, 0).clone();
  for (int64_t i = 1; i < per_byte; ++i) bytes.bitwise_or_(whole.select(-1, i).bitwise_left_shift(i * bits));
  return bytes;
}

at::Tensor unpack_codes(const at::Tensor& bytes, int bits, int64_t count) {
  if (bits == 8) return bytes.narrow(-1, 0, count);
  std::vector<at::Tensor> parts;
  for (int shift = 0; shift < 8; shift += bits) parts.push_back(bytes.bitwise_right_shift(shift).bitwise_and((1 << bits) - 1));
  return at::stack(parts, -1).flatten(-2).narrow(-1, 0, count);
}

}  // namespace mla
