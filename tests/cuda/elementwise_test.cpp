#include "core/cuda/residual_norm.h"
#include "core/cuda/swiglu.h"
#include "core/cuda/typed_values.h"
#include "tests/cuda/backends.h"

using namespace mla;
using namespace mla::gpu;
using mla::test::Bytes;
using mla::test::OnCard;

namespace {

constexpr Type kTypes[] = {Type::fp32, Type::fp16, Type::bf16};

// Two units in the last place of 1 at the scale of the largest value; in fp32 what sums of 1,000 squares lose.
double bound(Type type) { return type == Type::fp32 ? 1e-6 : type == Type::fp16 ? std::ldexp(1.0, -9) : std::ldexp(1.0, -6); }

Bytes drawn(uint64_t seed, Type type, int64_t count) {
  test::Draw draw(seed);
  Bytes bytes(static_cast<std::size_t>(count * bytes_of(type)));
  for (int64_t i = 0; i < count; ++i) set_value(type, bytes.data(), i, draw.uniform(-4, 4));
  return bytes;
}
std::vector<double> values(Type type, const Bytes& bytes) {
  std::vector<double> out;
  for (std::size_t i = 0; i < bytes.size() / static_cast<std::size_t>(bytes_of(type)); ++i) out.push_back(value_at(type, bytes.data(), static_cast<int64_t>(i)));
  return out;
}

void check_norm(const Operators& operators, Type type, Type weight_type, int64_t rows, int64_t width, bool adds) {
  INFO("dtype " << static_cast<int>(type) << ", weight " << static_cast<int>(weight_type) << ", [" << rows << "," << width << "], adds " << adds);
  Bytes x = drawn(1, type, rows * width), residual = drawn(2, type, rows * width), out(x.size());
  const Bytes weight = drawn(3, weight_type, width);
  const OnCard<unsigned char> card_x(operators, x), card_residual(operators, residual), card_weight(operators, weight), card_out(operators, out);
  ResidualNormArgs a{type, weight_type, rows, width, adds ? card_x.data() : nullptr, card_residual.data(), card_weight.data(), card_out.data(), 1e-5f};
  operators.residual_norm(a, nullptr);
  operators.synchronize();
  a.x = adds ? x.data() : nullptr, a.residual = residual.data(), a.weight = weight.data(), a.out = out.data();
  reference::residual_norm(a);
  CHECK(card_residual.read() == residual);  // one addition, equal bits
  CHECK(test::relative_error(values(type, card_out.read()), values(type, out)) <= bound(type));
}

void check_norms(const Operators& operators) {
  for (const Type type : kTypes)
    for (const Type weight_type : {type, Type::fp32})
      for (const auto& [rows, width] : {std::pair<int64_t, int64_t>{0, 8}, {1, 1}, {3, 33}, {2, 256}, {2, 1000}})
        for (const bool adds : {true, false}) check_norm(operators, type, weight_type, rows, width, adds);
}

void check_swiglu_case(const Operators& operators, Type type, int64_t rows, int64_t inner) {
  INFO("dtype " << static_cast<int>(type) << ", [" << rows << "," << inner << "]");
  Bytes gate_up = drawn(4, type, rows * 2 * inner), out(static_cast<std::size_t>(rows * inner * bytes_of(type)));
  const OnCard<unsigned char> card_in(operators, gate_up), card_out(operators, out);
  operators.swiglu({type, rows, inner, card_in.data(), card_out.data()}, nullptr);
  operators.synchronize();
  reference::swiglu({type, rows, inner, gate_up.data(), out.data()});
  CHECK(test::relative_error(values(type, card_out.read()), values(type, out)) <= bound(type));
}

void check_swiglus(const Operators& operators) {
  for (const Type type : kTypes)
    for (const auto& [rows, inner] : {std::pair<int64_t, int64_t>{0, 8}, {3, 0}, {1, 1}, {3, 33}, {2, 512}, {2, 2056}}) check_swiglu_case(operators, type, rows, inner);
}

}  // namespace

TEST_CASE("residual and norm equal the reference, emulated", "[cuda][residual_norm]") { check_norms(test::emulated()); }
TEST_CASE("residual and norm equal the reference on the card", "[cuda][residual_norm][card]") {
  if (test::no_card()) return;
  check_norms(test::card_operators());
  check_norm(test::card_operators(), Type::bf16, Type::bf16, 5000, 4096, true);
}

TEST_CASE("SwiGLU equals the reference, emulated", "[cuda][swiglu]") { check_swiglus(test::emulated()); }
TEST_CASE("SwiGLU equals the reference on the card", "[cuda][swiglu][card]") {
  if (test::no_card()) return;
  check_swiglus(test::card_operators());
  check_swiglu_case(test::card_operators(), Type::bf16, 70000, 40);  // more rows than a grid has
}

TEST_CASE("a gate far from zero leaves neither NaN nor infinity", "[cuda][swiglu]") {
  const std::vector<float> in{-200, 200, 1, 1};
  const OnCard<float> card_in(test::emulated(), in), card_out(test::emulated(), {9, 9});
  test::emulated().swiglu({Type::fp32, 1, 2, card_in.data(), card_out.data()}, nullptr);
  CHECK(card_out.read()[0] == Approx(0).margin(1e-30));
  CHECK(card_out.read()[1] == 200.0f);
}

TEST_CASE("rows without width, and pointers that are missing, are refused", "[cuda][residual_norm][swiglu][errors]") {
  float x = 0;
  CHECK_THROWS_WITH(check_residual_norm({Type::fp32, Type::fp32, 1, 0, &x, &x, &x, &x}), Catch::Contains("rows of 1 to 16384"));
  CHECK_THROWS_AS(check_residual_norm({Type::fp16, Type::bf16, 1, 1, &x, &x, &x, &x}), ShapeError);
  CHECK_THROWS_AS(check_residual_norm({Type::fp32, Type::fp32, 1, 1, &x, nullptr, &x, &x}), ShapeError);
  CHECK_THROWS_AS(check_swiglu({Type::fp32, -1, 1, &x, &x}), ShapeError);
  CHECK_THROWS_AS(check_swiglu({Type::fp32, 1, 1, nullptr, &x}), ShapeError);
}
