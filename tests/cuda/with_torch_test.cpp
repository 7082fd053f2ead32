// The CUDA module's operators, emulated, against what ATen and core/model compute.
#include "core/cuda/kernels/quantise.h"
#include "core/cuda/plug.h"
#include "core/cuda/token_scores.h"
#include "core/model/cpu_kernels.h"
#include "core/model/kv_quant.h"
#include "tests/support/catch.h"

using namespace mla;

namespace {

constexpr double kNatsError = 2e-6;      // sums of fp32 exponentials
constexpr double kFp32Reordering = 1e-5;

gpu::Operators emulated() { return gpu::Operators(*mlaforge_cuda_table()); }

at::Tensor drawn(at::IntArrayRef shape, int64_t seed) {
  at::manual_seed(static_cast<uint64_t>(seed));
  return at::randn(shape);
}
double relative_error(const at::Tensor& got, const at::Tensor& wanted) {
  const at::Tensor g = got.to(at::kDouble), w = wanted.to(at::kDouble);
  return ((g - w).abs().max() / w.abs().max()).item<double>();
}

// Rows of one sequence whose pages follow one another.
struct Appended {
  at::Tensor codes, affine;  // [tokens, bytes], [tokens, groups, 2]
};
Appended append(const at::Tensor& x, const QuantFormat& format) {
  const int64_t tokens = x.size(0), width = x.size(1), bytes = (width * format.bits + 7) / 8, groups = (width + format.group - 1) / format.group;
  const int64_t pages = (tokens + 63) / 64;
  Appended out{at::zeros({pages * 64, bytes}, at::kByte), at::zeros({pages * 64, groups, 2}, at::kHalf)};
  const at::Tensor table = at::arange(pages, at::kInt), positions = at::arange(tokens, at::kInt), sequences = at::zeros({tokens}, at::kInt);
  gpu::CacheAppendArgs a;
  a.type = gpu::Type::fp32, a.tokens = static_cast<int32_t>(tokens), a.width = static_cast<int32_t>(width), a.quant_group = static_cast<int32_t>(format.group);
  a.plain = x.const_data_ptr(), a.plain_stride = width;
  a.sequence = sequences.const_data_ptr<int>(), a.position = positions.const_data_ptr<int>(), a.page_table = table.const_data_ptr<int>();
  a.page_table_stride = a.max_pages = a.page_count = static_cast<int32_t>(pages), a.batch = 1;
  const int64_t values = bytes * 8 / format.bits;
  a.plain_rows = {format.bits == 8 ? gpu::CacheKind::int8 : gpu::CacheKind::int4, out.codes.data_ptr(), 64 * values, values, 0, out.affine.data_ptr(), 64 * groups * 2, groups * 2, 0};
  emulated().cache_append(a, nullptr);
  return {out.codes.narrow(0, 0, tokens), out.affine.narrow(0, 0, tokens)};
}

}  // namespace

TEST_CASE("appended codes are the bits of the CPU's quantised cache", "[cuda][cache_append]") {
  for (const int bits : {8, 4})
    for (const int64_t width : {96, 100, 512}) {
      INFO(bits << " bits, " << width << " values");
      const QuantFormat format{.bits = bits, .group = 32};
      at::Tensor x = drawn({70, width}, width + bits) * 3;
      x.select(0, 3).fill_(0.37);  // flat groups
      x.select(0, 4).zero_();
      const QuantBlock wanted = quantize(x.unsqueeze(0), format);
      const Appended got = append(x, format);
      CHECK(at::equal(got.codes, wanted.codes[0]));
      CHECK(at::equal(got.affine.select(2, 0), wanted.scale[0]));
      CHECK(at::equal(got.affine.select(2, 1), wanted.minimum[0]));
    }
}

TEST_CASE("token scores joined by the module's operator equal the reference", "[cuda][logit_block]") {
  const at::Tensor hidden = drawn({70, 24}, 1), head = drawn({17000, 24}, 2), other = hidden + 0.1 * drawn({70, 24}, 3), targets = at::randint(17000, {70}, at::kLong);
  const std::vector<StageHidden> stages{{hidden, head}, {other, head, 9}};
  const TokenScores got = token_scores_with(emulated(), stages, targets), wanted = reference::token_scores(stages, targets);
  CHECK((got.nll_nats - wanted.nll_nats).abs().max().item<double>() < 5 * kNatsError);  // products in fp32
  CHECK((got.kld_nats - wanted.kld_nats).abs().max().item<double>() < 5 * kNatsError);
  CHECK(at::equal(got.top, wanted.top));
  CHECK(at::equal(got.same_top, wanted.same_top));
}

TEST_CASE("stages of two dtypes are refused", "[cuda][logit_block][errors]") {
  const at::Tensor hidden = drawn({3, 4}, 1), head = drawn({5, 4}, 2), targets = at::zeros({3}, at::kLong);
  CHECK_THROWS_WITH(token_scores_with(emulated(), {{hidden, head}, {hidden.to(at::kHalf), head.to(at::kHalf)}}, targets), Catch::Contains("one dtype"));
  CHECK_THROWS_WITH(token_scores_with(emulated(), {{hidden.to(at::kDouble), head.to(at::kDouble)}}, targets), Catch::Contains("fp32, fp16 or bf16"));
}

TEST_CASE("residual and norm equal the decoder's", "[cuda][residual_norm]") {
  const at::Tensor x = drawn({5, 96}, 1), before = drawn({5, 96}, 2), weight = drawn({96}, 3);
  at::Tensor residual = before.clone(), out = at::empty_like(x);
  emulated().residual_norm({gpu::Type::fp32, gpu::Type::fp32, 5, 96, x.const_data_ptr(), residual.data_ptr(), weight.const_data_ptr(), out.data_ptr(), 1e-5f}, nullptr);
  CHECK(at::equal(residual, before + x));
  CHECK(relative_error(out, rms_norm(before + x, weight, 1e-5)) < kFp32Reordering);
}

TEST_CASE("SwiGLU equals the decoder's", "[cuda][swiglu]") {
  const at::Tensor x = drawn({5, 2 * 96}, 1);
  at::Tensor out = at::empty({5, 96});
  emulated().swiglu({gpu::Type::fp32, 5, 96, x.const_data_ptr(), out.data_ptr()}, nullptr);
  CHECK(relative_error(out, gated(x.clone(), Activation::silu)) < kFp32Reordering);
}

TEST_CASE("absorbed decode equals attention over rebuilt rows", "[cuda][decode]") {
  const int64_t heads = 9, rank = 64, rope = 16, tokens = 150, pages = 3;
  const at::Tensor q = drawn({1, heads, rank}, 1).to(at::kBFloat16), q_rope = drawn({1, heads, rope}, 2).to(at::kBFloat16), rows = drawn({pages, 64, rank + rope}, 3).to(at::kBFloat16);
  at::Tensor out = at::empty_like(q);
  const at::Tensor table = at::tensor({2, 0, 1}, at::kInt), lengths = at::tensor({static_cast<int>(tokens)}, at::kInt);
  gpu::DecodeArgs a;
  a.shape = {.batch = 1, .heads = static_cast<int32_t>(heads), .groups = 1, .key_dim = static_cast<int32_t>(rank), .rope_dim = static_cast<int32_t>(rope), .value_dim = static_cast<int32_t>(rank)};
  a.plan = gpu::plan_decode(a.shape, {static_cast<int32_t>(tokens)}, 0, {8, 232448, true});
  REQUIRE(a.plan.rows == 16);
  REQUIRE(a.plan.max_splits > 1);
  at::Tensor workspace = at::empty({a.plan.workspace_bytes}, at::kByte);
  a.scale = 0.1f;
  a.q = q.const_data_ptr(), a.q_rope = q_rope.const_data_ptr(), a.q_batch = heads * rank, a.q_head = rank, a.q_rope_batch = heads * rope, a.q_rope_head = rope;
  a.key = {rows.const_data_ptr(), 64 * (rank + rope), rank + rope, 0};
  a.rope = {rows.const_data_ptr<at::BFloat16>() + rank, 64 * (rank + rope), rank + rope, 0};
  a.page_table = table.const_data_ptr<int>(), a.lengths = lengths.const_data_ptr<int>();
  a.page_table_stride = a.max_pages = a.page_count = static_cast<int32_t>(pages);
  a.out = out.data_ptr(), a.out_batch = heads * rank, a.out_head = rank, a.workspace = workspace.data_ptr();
  emulated().decode(a, nullptr);

  const at::Tensor seen = rows.index_select(0, table).flatten(0, 1).narrow(0, 0, tokens).to(at::kDouble);
  const at::Tensor scores = at::cat({q, q_rope}, -1)[0].to(at::kDouble).matmul(seen.t()) * 0.1;
  const at::Tensor wanted = at::softmax(scores, -1).matmul(seen.narrow(1, 0, rank)).unsqueeze(0);
  CHECK(relative_error(out, wanted) < std::ldexp(1.0, -8));  // one rounding to bf16, and weights in bf16
}
