#include "core/checkpoint/dequantize.h"

#include <cmath>
#include <map>

#include "tests/support/catch.h"

#include "core/base/json.h"
#include "core/base/sha256.h"
#include "core/checkpoint/checkpoint.h"
#include "tests/checkpoint/sample_files.h"
#include "tests/support/family_models.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

// What the gguf package gave: tests/oracle/dequantize_goldens.py.
const Json& goldens() {
  static const Json read = read_json_file(golden("dequantize.json"));
  return read;
}

GgufType type_of(const std::string& name) {
  return std::map<std::string, GgufType>{{"F32", GgufType::f32},   {"F16", GgufType::f16},   {"BF16", GgufType::bf16},     {"Q4_0", GgufType::q4_0},
                                         {"Q4_1", GgufType::q4_1}, {"Q5_0", GgufType::q5_0}, {"Q5_1", GgufType::q5_1},     {"Q8_0", GgufType::q8_0},
                                         {"Q2_K", GgufType::q2_k}, {"Q3_K", GgufType::q3_k}, {"Q4_K", GgufType::q4_k},     {"Q5_K", GgufType::q5_k},
                                         {"Q6_K", GgufType::q6_k}, {"IQ4_NL", GgufType::iq4_nl}, {"IQ4_XS", GgufType::iq4_xs}}
      .at(name);
}

std::string from_hex(const std::string& digits) {
  std::string bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2) bytes.push_back(static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::string_view bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::vector<float> dequantized(GgufType type, std::string_view in) {
  const GgufBlock block = block_of(type);
  std::vector<float> out(in.size() / static_cast<std::size_t>(block.bytes) * static_cast<std::size_t>(block.elements));
  dequantize(type, std::as_bytes(std::span(in)), static_cast<int64_t>(out.size()), out.data());
  return out;
}

std::string_view bytes_of(const GgufTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
}

// The rows as llama.cpp's converter stores them: reshape(n_head, 2, h/2, in).swapaxes(1, 2), so that rotary pairs are neighbours.
at::Tensor as_stored(const at::Tensor& w, int64_t heads) {
  return w.view({heads, 2, w.size(0) / heads / 2, w.size(1)}).transpose(1, 2).reshape(w.sizes()).contiguous();
}

}  // namespace

TEST_CASE("blocks of every type dequantise to the bits of the gguf package", "[checkpoint][golden]") {
  REQUIRE(goldens()["cases"].size() > 30);
  for (const Json& recorded : goldens()["cases"]) {
    INFO(recorded["type"] << ", " << recorded["about"]);
    const std::string in = from_hex(recorded["in"]);
    const auto out = dequantized(type_of(recorded["type"]), in);
    CHECK(bytes_of(out) == from_hex(recorded["out"]));
  }
}

TEST_CASE("512 blocks of each quantised type dequantise to the bits of the gguf package", "[checkpoint][golden]") {
  REQUIRE(goldens()["formula_blocks"].size() == 12);
  for (const Json& recorded : goldens()["formula_blocks"]) {
    const std::string type = recorded["type"];
    INFO(type);
    const std::size_t size = recorded["bytes"], count = recorded["blocks"];
    REQUIRE(static_cast<std::size_t>(block_of(type_of(type)).bytes) == size);
    std::string in;
    SplitMix64 bits = formula_bits(type);
    for (std::size_t i = 0; i < size * count; ++i) in.push_back(static_cast<char>(bits.next() & 255u));
    for (const std::size_t at : recorded["halves"])
      for (std::size_t block = 0; block < count; ++block) in[block * size + at + 1] &= static_cast<char>(0xbf);
    REQUIRE(in.substr(0, size) == from_hex(recorded["in"]));

    CHECK(bytes_of(dequantized(type_of(type), in.substr(0, size))) == from_hex(recorded["out"]));
    CHECK(sha256_hex(bytes_of(dequantized(type_of(type), in))) == recorded["sha256"]);
  }
}

TEST_CASE("every half and every bfloat16 dequantises to the bits of the gguf package", "[checkpoint][golden]") {
  const std::string type = GENERATE(as<std::string>{}, "F16", "BF16");
  const uint32_t infinity = type == "F16" ? 0x7c00 : 0x7f80;
  std::string patterns;
  for (uint32_t bits = 0; bits < 1u << 16; ++bits)
    if ((bits & 0x7fffu) <= infinity) patterns += raw(static_cast<uint16_t>(bits));

  const auto out = dequantized(type_of(type), patterns);

  CHECK(sha256_hex(bytes_of(out)) == goldens()["every_pattern"][type]);
}

TEST_CASE("a half that is a NaN stays one", "[checkpoint]") {
  for (uint32_t bits = 0x7c01; bits < 0x8000; ++bits) {
    REQUIRE(std::isnan(half_to_float(static_cast<uint16_t>(bits))));
    REQUIRE(std::isnan(half_to_float(static_cast<uint16_t>(bits | 0x8000u))));
  }
}

TEST_CASE("whole tensors of the real model dequantise to the bits of the gguf package", "[checkpoint][golden]") {
  if (smollm2().empty()) return skip("SmolLM2 was not fetched");
  const GgufFile file(smollm2());

  for (const Json& recorded : goldens()["tensors"]) {
    INFO(recorded["name"]);
    const GgufTensor* tensor = file.find(recorded["name"]);
    REQUIRE(tensor != nullptr);
    CHECK(tensor->type == type_of(recorded["type"]));
    CHECK(tensor->elements() == recorded["elements"]);
    const auto out = dequantized(tensor->type, bytes_of(*tensor));
    CHECK(sha256_hex(bytes_of(out)) == recorded["sha256"]);
  }
}

TEST_CASE("the real model's q and k rows are loaded in Hugging Face's order", "[checkpoint]") {
  if (smollm2().empty()) return skip("SmolLM2 was not fetched");
  const auto model = Checkpoint::open(smollm2());
  const GgufFile file(smollm2());
  const auto stored = [&](const std::string& name) {
    const GgufTensor& tensor = *file.find(name);
    return at::tensor(dequantized(tensor.type, bytes_of(tensor))).view(tensor.shape);
  };
  const int64_t layer = GENERATE(0, 29);
  const std::string ours = "model.layers." + std::to_string(layer) + ".self_attn.", theirs = "blk." + std::to_string(layer) + ".attn_";

  const at::Tensor q = model->load(ours + "q_proj.weight", at::kFloat), k = model->load(ours + "k_proj.weight", at::kFloat);

  CHECK(at::equal(as_stored(q, model->config().num_heads), stored(theirs + "q.weight")));
  CHECK(at::equal(as_stored(k, model->config().num_kv_heads), stored(theirs + "k.weight")));
  CHECK_FALSE(at::equal(q, stored(theirs + "q.weight")));
  CHECK(at::equal(model->load(ours + "v_proj.weight", at::kFloat), stored(theirs + "v.weight")));
}
