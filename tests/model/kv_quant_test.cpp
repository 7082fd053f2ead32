// Integers of a cache: error bounds, packing, and what optimum-quanto and hqq make of the same numbers.
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/model/kv_quant.h"
#include "tests/model/drawn_rows.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

at::Tensor numbers(const Json& list) {
  const auto values = list.get<std::vector<double>>();
  return at::tensor(values, at::kDouble).to(at::kFloat);
}

QuantFormat format_of(int bits, int64_t group, QuantAxis axis, at::ScalarType scales) { return {.bits = bits, .group = group, .axis = axis, .scales = scales}; }

// Each value's own scale: [B,T,width].
at::Tensor spread_scale(const QuantBlock& block, const QuantFormat& f, int64_t width) {
  const at::Tensor scale = block.scale.to(at::kFloat);
  return f.axis == QuantAxis::channel ? scale.repeat_interleave(f.group, 1) : scale.repeat_interleave(f.group, 2).narrow(2, 0, width);
}

constexpr double kRounding = 1e-6;       // fp32 of the multiply and add, relative to the largest value
constexpr double kOtherOrder = 2e-6;     // (x + shift) / scale there, (x - minimum) / scale here: last bits at fp32

}  // namespace

TEST_CASE("a value and what comes back differ by half a step at most", "[kv_cache][bound]") {
  const int bits = GENERATE(8, 4, 2);
  const QuantAxis axis = GENERATE(QuantAxis::token, QuantAxis::channel);
  const at::ScalarType scales = GENERATE(at::kHalf, at::kFloat);
  const int64_t group = GENERATE(8, 12);  // of a width of 45: neither divides it
  const QuantFormat f = format_of(bits, group, axis, scales);
  const at::Tensor x = at::cat({drawn_rows(3, 24, 45), 1000 * drawn_rows(4, 24, 45), 1e-3 * drawn_rows(5, 24, 45)}).contiguous();

  const QuantBlock block = quantize(x, f);
  const at::Tensor error = (dequantize(block, f, 45, at::kFloat) - x).abs();

  const at::Tensor bound = spread_scale(block, f, 45) / 2 + kRounding * x.abs().amax({1, 2}, true);
  CHECK(error.le(bound).all().item<bool>());
  CHECK(error.max().item<double>() > 0);
}

TEST_CASE("flat groups and zeros come back as they were", "[kv_cache][bound]") {
  for (const QuantAxis axis : {QuantAxis::token, QuantAxis::channel}) {
    const QuantFormat f = format_of(4, 4, axis, at::kFloat);
    const at::Tensor flat = at::full({2, 8, 6}, -3.25), none = at::zeros({1, 4, 6});
    CHECK(at::equal(dequantize(quantize(flat, f), f, 6, at::kFloat), flat));
    CHECK(at::equal(dequantize(quantize(none, f), f, 6, at::kFloat), none));
  }
}

TEST_CASE("codes are packed for real and come back at every width", "[kv_cache][packing]") {
  for (const int bits : {8, 4, 2})
    for (int64_t width = 1; width <= 17; ++width) {
      const at::Tensor codes = tiny_ids(3, 5 * width, 1 << bits, static_cast<uint64_t>(width)).to(at::kByte).view({3, 5, width});
      const at::Tensor bytes = pack_codes(codes, bits);
      CHECK(bytes.size(2) == (width * bits + 7) / 8);
      CHECK(at::equal(unpack_codes(bytes, bits, width), codes));
    }
  CHECK(pack_codes(at::tensor({1, 2, 3}, at::kByte), 4)[0].item<int>() == 0x21);
  CHECK(pack_codes(at::tensor({1, 2, 3, 0, 3}, at::kByte), 2)[0].item<int>() == 0b00111001);
}

TEST_CASE("bytes are those of codes, scales and minima", "[kv_cache][bytes]") {
  const at::Tensor x = drawn_rows(1, 8, 45).expand({2, 8, 45});
  // 2 sequences of 8 tokens: ceil(45 / 2) bytes of codes and ceil(45 / 16) groups of two fp16 numbers each.
  CHECK(quantize(x, format_of(4, 16, QuantAxis::token, at::kHalf)).bytes() == 2 * 8 * (23 + 3 * 4));
  CHECK(quantize(x, format_of(2, 16, QuantAxis::token, at::kFloat)).bytes() == 2 * 8 * (12 + 3 * 8));
  CHECK(quantize(x, format_of(8, 4, QuantAxis::channel, at::kHalf)).bytes() == 2 * (8 * 45 + 2 * 45 * 4));
}

TEST_CASE("formats and shapes that do not exist are refused", "[kv_cache][errors]") {
  const at::Tensor x = drawn_rows(1, 6, 8);
  CHECK_THROWS_AS(quantize(x, format_of(3, 8, QuantAxis::token, at::kHalf)), ConfigError);
  CHECK_THROWS_AS(quantize(x, format_of(4, 0, QuantAxis::token, at::kHalf)), ConfigError);
  CHECK_THROWS_AS(quantize(x, format_of(4, 8, QuantAxis::token, at::kBFloat16)), ConfigError);
  CHECK_THROWS_AS(quantize(x, format_of(4, 4, QuantAxis::channel, at::kHalf)), ShapeError);  // 6 tokens
  CHECK_THROWS_AS(quantize(x[0], format_of(4, 4, QuantAxis::token, at::kHalf)), ShapeError);
  CHECK_THROWS_WITH(quantize(x * 1e6, format_of(8, 8, QuantAxis::token, at::kHalf)), Catch::Contains("--kv-scales fp32"));
}

TEST_CASE("quanto gives the same numbers", "[kv_cache][oracle]") {
  const Json goldens = read_json_file(golden("kv_cache.json"));
  REQUIRE(goldens["quanto"].size() == 5);
  for (const Json& c : goldens["quanto"]) {
    const int64_t width = c["width"], tokens = c["tokens"];
    const QuantFormat f = format_of(c["bits"], c["group"], c["axis"] == "token" ? QuantAxis::token : QuantAxis::channel, at::kFloat);
    const at::Tensor x = drawn_rows(c["seed"], tokens, width), back = dequantize(quantize(x, f), f, width, at::kFloat);
    CHECK(max_relative_error(back.flatten(), numbers(c["back"])) < kOtherOrder);
  }
}

TEST_CASE("hqq gives the same numbers, token by token", "[kv_cache][oracle]") {
  const Json goldens = read_json_file(golden("kv_cache.json"));
  REQUIRE(goldens["hqq"].size() == 4);
  for (const Json& c : goldens["hqq"]) {
    const int64_t width = c["width"], tokens = c["tokens"];
    QuantFormat f = format_of(c["bits"], c["group"], QuantAxis::token, at::kFloat);
    f.rule = QuantRule::hqq;
    const at::Tensor x = drawn_rows(c["seed"], tokens, width), back = dequantize(quantize(x, f), f, width, at::kFloat);
    INFO(c["bits"] << " bits");
    CHECK(max_relative_error(back.flatten(), numbers(c["back"])) < 10 * kOtherOrder);  // twenty rounds of it
  }
}
