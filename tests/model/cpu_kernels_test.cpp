// Our own loops and products against ATen's operators in fp64.
#include "tests/support/catch.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include "core/model/cpu_kernels.h"
#include "core/model/tiled_attention.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

constexpr double kBf16Step = 1.0 / 128;  // largest distance of neighbouring bf16 values, relative

at::Tensor random(at::IntArrayRef sizes, uint64_t seed, at::ScalarType dtype) {
  int64_t rows = 1;
  for (const int64_t size : sizes.slice(0, sizes.size() - 1)) rows *= size;
  return tiny_inputs(1, rows, sizes.back(), seed).view(sizes).to(dtype);
}

// Scores, then the softmax over what is seen, in fp64 from the same rounded inputs.
at::Tensor by_definition(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Scoring& scoring) {
  const int64_t share = q.size(2) / k.size(2), queries = q.size(1), keys = k.size(1), window = scoring.limits.window;
  const auto heads = [&](const at::Tensor& t, int64_t copies) { return t.to(at::kDouble).transpose(1, 2).repeat_interleave(copies, 1); };
  at::Tensor scores = heads(q, 1).matmul(heads(k, share).transpose(2, 3)) * scoring.scale;
  if (scoring.mask.defined()) scores = scores + scoring.mask;
  else {
    at::Tensor seen = at::ones({queries, keys}, at::kBool).tril_(keys - queries);
    if (window > 0) seen = seen.triu(keys - queries - window + 1);
    scores.masked_fill_(seen.logical_not(), -std::numeric_limits<double>::infinity());
  }
  return at::softmax(scores, -1).matmul(heads(v, share)).transpose(1, 2);
}

}  // namespace

TEST_CASE("attention in tiles equals its definition over odd sizes, with a past, windows and masks", "[model][attention]") {
  const at::ScalarType dtype = GENERATE(at::kFloat, at::kBFloat16);
  struct Case {
    int64_t batch, queries, past, heads, groups, key_dim, value_dim, window;
    bool masked;
  };
  const Case c = GENERATE(Case{1, 8, 0, 1, 1, 1, 1, 0, false}, Case{2, 65, 0, 6, 2, 7, 5, 0, false}, Case{1, 9, 270, 3, 3, 64, 64, 0, false},
                          Case{1, 300, 17, 9, 3, 33, 48, 0, false}, Case{1, 150, 0, 4, 2, 16, 32, 40, false}, Case{1, 130, 300, 2, 1, 20, 12, 1, false},
                          Case{1, 70, 230, 4, 1, 24, 40, 0, true});
  const at::Tensor q = random({c.batch, c.queries, c.heads, c.key_dim}, 1, dtype), v = random({c.batch, c.past + c.queries, c.groups, c.value_dim}, 3, dtype);
  const at::Tensor k = random({c.batch, c.groups, c.past + c.queries, c.key_dim}, 2, dtype).transpose(1, 2);  // strides that are not the shape's
  Scoring scoring{0.7, {0, c.window}, {}};
  if (c.masked) {  // every third key hidden, and what comes later
    scoring.mask = at::zeros({c.queries, c.past + c.queries});
    scoring.mask.slice(1, 1, std::nullopt, 3).fill_(-std::numeric_limits<float>::infinity());
    scoring.mask += at::full_like(scoring.mask, -std::numeric_limits<float>::infinity()).triu_(c.past + 1);
  }
  CAPTURE(dtype, c.batch, c.queries, c.past, c.heads, c.key_dim, c.value_dim, c.window, c.masked);
  if (!tiled_attention_takes(q, k, v, scoring)) {
    WARN("skipped: this processor has no " << (dtype == at::kFloat ? "AVX-512" : "AVX512-BF16"));
    return;
  }

  const at::Tensor mixed = tiled_attention(q, k, v, scoring);

  CHECK(mixed.scalar_type() == dtype);
  CHECK(max_relative_error(mixed.to(at::kDouble), by_definition(q, k, v, scoring)) < (dtype == at::kFloat ? kFp32Reordering : kBf16Step));
}

TEST_CASE("attention in tiles gives the same bits whatever the number of threads", "[model][attention]") {
  const at::Tensor q = random({2, 200, 6, 16}, 1, at::kFloat), k = random({2, 200, 2, 16}, 2, at::kFloat);
  if (!tiled_attention_takes(q, k, k, {})) return;
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor alone = tiled_attention(q, k, k, {});
  at::set_num_threads(threads > 1 ? threads : 2);
  CHECK(at::equal(alone, tiled_attention(q, k, k, {})));
  at::set_num_threads(threads);
}

TEST_CASE("a NaN in keys or values reaches the output of every query that sees it", "[model][attention]") {
  const at::Tensor q = random({1, 20, 2, 8}, 1, at::kFloat), k = random({1, 20, 2, 8}, 2, at::kFloat), v = random({1, 20, 2, 8}, 3, at::kFloat);
  const bool in_keys = GENERATE(true, false);
  (in_keys ? k : v)[0][7][1].fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor mixed = causal_attention(q, k, v, 1);
  CHECK(mixed[0].narrow(0, 7, 13).select(1, 1).isnan().all().item<bool>());
  // In tiles a hidden key is not looked at; ATen adds minus infinity to its score. A hidden value counts 0 times NaN in both, as in any product.
  if (in_keys && tiled_attention_takes(q, k, v, {})) CHECK_FALSE(mixed[0].narrow(0, 0, 7).isnan().any().item<bool>());
}

TEST_CASE("norms, rotations and gates in bf16 and fp32 equal ATen's operators", "[model][kernels]") {
  const at::ScalarType dtype = GENERATE(at::kFloat, at::kBFloat16);
  const int64_t width = GENERATE(2, 64, 66, 200);
  const double bound = dtype == at::kFloat ? 2e-6 : 1.01 * kBf16Step;  // one rounding may fall the other way
  const at::Tensor x = random({3, 5, width}, 1, dtype) * 3, weight = random({1, width}, 2, dtype)[0];
  const at::Tensor wide = x.to(at::kDouble);

  const at::Tensor normed = wide * at::rsqrt(wide.square().mean(-1, true) + 1e-5) * weight.to(at::kDouble);
  CHECK(max_relative_error(rms_norm(x, weight, 1e-5).to(at::kDouble), normed) < bound);
  CHECK(max_relative_error(rms_norm(x, weight.to(at::kFloat), 1e-5).to(at::kDouble), normed) < bound);

  const at::Tensor gate = wide.narrow(-1, 0, width / 2), up = wide.narrow(-1, width / 2, width / 2);
  CHECK(max_relative_error(gated(x.clone(), Activation::silu).to(at::kDouble), at::silu(gate) * up) < bound);

  const at::Tensor heads = x.view({1, 3, 5, width}), angles = random({3, 1, width / 2}, 3, at::kFloat);
  const RopeTable table{angles.cos(), angles.sin()};
  const at::Tensor cos = table.cos.to(at::kDouble), sin = table.sin.to(at::kDouble), a = wide.view({3, 5, width}).narrow(-1, 0, width / 2), b = wide.view({3, 5, width}).narrow(-1, width / 2, width / 2);
  CHECK(max_relative_error(apply_rope(heads, table)[0].to(at::kDouble), at::cat({a * cos - b * sin, b * cos + a * sin}, -1)) < bound);
}

TEST_CASE("NaN and infinity survive the bf16 loops", "[model][kernels]") {
  at::Tensor x = at::ones({2, 66}, at::kBFloat16);
  x[0][65] = std::numeric_limits<float>::quiet_NaN();
  CHECK(rms_norm(x, at::ones({66}, at::kBFloat16), 1e-5)[0].isnan().all().item<bool>());
  CHECK(gated(x, Activation::silu)[0][32].isnan().item<bool>());
  CHECK_FALSE(gated(x, Activation::silu)[1].isnan().any().item<bool>());
}

TEST_CASE("products and their gradients equal fp64's for any strides", "[tensor]") {
  const at::Tensor x = random({2, 9, 24}, 1, at::kFloat), bias = random({1, 13}, 3, at::kFloat)[0];
  const at::Tensor weight = GENERATE(true, false) ? random({13, 24}, 2, at::kFloat) : random({24, 13}, 2, at::kFloat).t();
  const at::Tensor given = GENERATE(true, false) ? bias : at::Tensor();
  const at::Tensor wide = x.to(at::kDouble).matmul(weight.to(at::kDouble).t()) + (given.defined() ? bias.to(at::kDouble) : at::zeros({13}, at::kDouble));
  CHECK(max_relative_error(project(x, weight, given).to(at::kDouble), wide) < 1e-6);
  CHECK(project(x.narrow(1, 0, 0), weight, given).sizes() == at::IntArrayRef{2, 0, 13});

  const c10::InferenceMode normal(false);
  const at::AutoGradMode graph(true);
  const auto leaf = [](const at::Tensor& t) { return at::empty(t.sizes(), t.options()).copy_(t).requires_grad_(true); };
  at::Tensor own_x = leaf(x), own_weight = leaf(weight), own_bias = leaf(bias);
  project(own_x, own_weight, given.defined() ? own_bias : at::Tensor()).square().sum().backward();
  at::Tensor x64 = leaf(x.to(at::kDouble)), weight64 = leaf(weight.to(at::kDouble)), bias64 = leaf(bias.to(at::kDouble));
  at::linear(x64, weight64, given.defined() ? std::optional(bias64) : std::nullopt).square().sum().backward();
  CHECK(max_relative_error(own_x.grad().to(at::kDouble), x64.grad()) < 2e-6);
  CHECK(max_relative_error(own_weight.grad().to(at::kDouble), weight64.grad()) < 2e-6);
  if (given.defined()) CHECK(max_relative_error(own_bias.grad().to(at::kDouble), bias64.grad()) < 2e-6);
}
