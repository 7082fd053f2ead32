// The bounds of the GGUF reader one by one, and models in GGUF files that hold what cannot be loaded.
#include <algorithm>
#include <functional>
#include <limits>
#include <random>

#include "tests/support/catch.h"

#include "core/checkpoint/checkpoint.h"
#include "tests/checkpoint/sample_files.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Contains;

namespace {

// Keys and a tensor of every supported type.
GgufSample sample() {
  GgufSample s;
  s.keys = {gguf_key("t.u8", gguf::u8, raw<uint8_t>(200)),
            gguf_key("t.i8", gguf::i8, raw<int8_t>(-5)),
            gguf_key("t.i16", gguf::i16, raw<int16_t>(300)),
            gguf_key("t.u64", gguf::u64, raw(uint64_t{1} << 63)),
            gguf_key("t.f32", gguf::f32, raw(0.5f)),
            gguf_key("t.f64", gguf::f64, raw(0.25)),
            gguf_key("t.bool", gguf::boolean, raw<uint8_t>(1)),
            gguf_key("t.text", gguf::text, gguf_text("llama")),
            gguf_array("t.texts", gguf::text, 2, gguf_text("a") + gguf_text("bc")),
            gguf_array("t.ints", gguf::i32, 2, raw<int32_t>(-1) + raw<int32_t>(9)),
            gguf_array("t.floats", gguf::f32, 1, raw(1.5f))};
  s.tensors = {{"w.f32", {4, 3}, gguf::F32, std::string(48, '1')},
               {"w.f16", {5}, gguf::F16, std::string(10, '2')},
               {"w.bf16", {2, 3, 2}, gguf::BF16, std::string(24, '3')},
               {"w.q8_0", {32, 2}, gguf::Q8_0, std::string(68, '4')},
               {"w.q4_1", {64}, gguf::Q4_1, std::string(40, '5')}};
  return s;
}

std::string refusal_of(const GgufSample& file) {
  const TemporaryFolder folder;
  write_bytes(folder / "spoilt.gguf", file.bytes());
  const std::string said = refusal([&] { GgufFile(folder / "spoilt.gguf"); });
  if (!said.empty()) CHECK_THAT(said, Contains("spoilt.gguf"));
  return said;
}

struct Spoilt {
  const char* wanted;  // in the refusal
  std::function<void(GgufSample&)> spoil;
};

void check_refused(const std::vector<Spoilt>& cases) {
  for (std::size_t i = 0; i < cases.size(); ++i) {
    GgufSample file = sample();
    cases[i].spoil(file);
    INFO("case " << i);
    CHECK_THAT(refusal_of(file), Contains(cases[i].wanted));
  }
}

Spoilt with_key(const char* wanted, const std::string& key) {
  return {wanted, [key](GgufSample& s) { s.keys.push_back(key); }};
}
Spoilt with_dims(const char* wanted, const std::vector<uint64_t>& dims) {
  return {wanted, [dims](GgufSample& s) { s.tensors[0].dims = dims; }};
}
Spoilt with_offset(uint64_t offset) {
  return {"tensor w.f16 at offset 64 (no hole, no overlap)", [offset](GgufSample& s) { s.tensors[1].offset = offset; }};
}

// What config_from_gguf asks for: 3 heads of 4, 1 key/value head, width 12.
GgufSample tiny_llama() {
  GgufSample s;
  s.keys = {gguf_key("general.architecture", gguf::text, gguf_text("llama")),
            gguf_key("llama.attention.layer_norm_rms_epsilon", gguf::f32, raw(1e-5f))};
  const std::vector<std::pair<const char*, uint32_t>> numbers{{"embedding_length", 12}, {"feed_forward_length", 20}, {"block_count", 1},
                                                              {"attention.head_count", 3}, {"attention.head_count_kv", 1}, {"context_length", 64}};
  for (const auto& [name, value] : numbers) s.keys.push_back(gguf_key(std::string("llama.") + name, gguf::u32, raw(value)));
  s.tensors = {{"token_embd.weight", {12, 7}, gguf::F32, std::string(12 * 7 * 4, '\0')}};
  return s;
}

std::string floats(const at::Tensor& values) {
  const at::Tensor plain = values.to(at::kFloat).contiguous();
  return {static_cast<const char*>(plain.const_data_ptr()), plain.nbytes()};
}

std::shared_ptr<Checkpoint> opened(const GgufSample& file, const TemporaryFolder& folder) {
  write_bytes(folder / "model.gguf", file.bytes());
  return Checkpoint::open(folder / "model.gguf");
}

}  // namespace

TEST_CASE("tensors of a GGUF file keep their bytes at every alignment", "[checkpoint][gguf]") {
  const TemporaryFolder folder;
  GgufSample written = sample();
  written.alignment = GENERATE(uint64_t{8}, uint64_t{32}, uint64_t{4096});
  written.keys.push_back(gguf_key("general.alignment", gguf::u32, raw(static_cast<uint32_t>(written.alignment))));
  write_bytes(folder / "whole.gguf", written.bytes());

  const GgufFile read(folder / "whole.gguf");

  REQUIRE(read.tensors().size() == written.tensors.size());
  for (const GgufEntry& entry : written.tensors) {
    const GgufTensor* tensor = read.find(entry.name);
    REQUIRE(tensor != nullptr);
    CHECK(tensor->shape == std::vector<int64_t>(entry.dims.rbegin(), entry.dims.rend()));
    CHECK(std::string(reinterpret_cast<const char*>(tensor->bytes.data()), tensor->bytes.size()) == entry.data);
  }
}

TEST_CASE("a checkpoint of the real GGUF file is refused at 200 cuts", "[checkpoint][gguf][errors]") {
  if (smollm2().empty()) return skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  const TemporaryFolder folder;
  const fs::path file = folder / "cut.gguf";
  fs::copy_file(smollm2(), file);
  const std::size_t header = GgufFile(file).tensors().front().offset;
  std::mt19937_64 random(20240607);
  std::vector<uint64_t> sizes;  // half of them in the header
  for (int i = 0; i < 200; ++i) sizes.push_back(random() % (i % 2 == 0 ? fs::file_size(smollm2()) : header));
  std::sort(sizes.rbegin(), sizes.rend());

  for (const uint64_t size : sizes) {
    fs::resize_file(file, size);
    INFO(size << " bytes");
    REQUIRE_THAT(refusal([&] { Checkpoint::open(file); }), Contains("cut.gguf"));
  }
}

TEST_CASE("counts and byte order of a GGUF header are refused by name", "[checkpoint][gguf][errors]") {
  check_refused({{"magic GGUF", [](GgufSample& s) { s.magic = "FUGG"; }},
                 {"big-endian", [](GgufSample& s) { s.version = 0x03000000; }},
                 {"number of tensors", [](GgufSample& s) { s.tensor_count = 1000001; }},
                 {"number of tensors", [](GgufSample& s) { s.tensor_count = ~uint64_t{0}; }},
                 {"a tensor name", [](GgufSample& s) { s.tensor_count = 1000000; }},
                 {"number of keys", [](GgufSample& s) { s.key_count = 65537; }},
                 {"number of keys", [](GgufSample& s) { s.key_count = uint64_t{1} << 63; }}});
}

TEST_CASE("a GGUF key that asks for too much or has no known type is refused", "[checkpoint][gguf][errors]") {
  const auto length = [](uint64_t size) { return raw(size); };
  const std::string one = raw<uint32_t>(1);
  check_refused({{"length of a key", [&](GgufSample& s) { s.keys.push_back(length(~uint64_t{0}) + "abc"); }},
                 {"length of a key", [&](GgufSample& s) { s.keys.push_back(length(65536) + std::string(65536, 'k')); }},
                 {"the file is cut", [&](GgufSample& s) { s.keys.push_back(length(65535) + "abc"); }},
                 with_key("length of value of k", gguf_key("k", gguf::text, length(~uint64_t{0}) + "abc")),
                 with_key("length of value of k", gguf_key("k", gguf::text, length((16u << 20) + 1) + "abc")),
                 with_key("the file is cut", gguf_key("k", gguf::text, length(1 << 20) + "abc")),
                 with_key("value type for k, got 13", gguf_key("k", 13, one)),
                 with_key("value type for k, got 4294967295", gguf_key("k", ~0u, one)),
                 with_key("length of k", gguf_array("k", gguf::u8, ~uint64_t{0}, one)),
                 with_key("length of k", gguf_array("k", gguf::text, (1u << 24) + 1, one)),
                 with_key("more than the file holds", gguf_array("k", gguf::text, 1u << 24, one)),
                 with_key("the file is cut", gguf_array("k", gguf::u64, 200, one)),
                 with_key("value type for k, got 77", gguf_array("k", 77, 1, one))});
}

TEST_CASE("an alignment of GGUF data that is no power of two in bounds is refused", "[checkpoint][gguf][errors]") {
  const auto aligned = [](uint32_t type, const std::string& value) { return with_key("general.alignment", gguf_key("general.alignment", type, value)); };
  check_refused({aligned(gguf::u32, raw(0u)), aligned(gguf::u32, raw(3u)), aligned(gguf::u32, raw(48u)), aligned(gguf::u32, raw(1u << 20)),
                 aligned(gguf::u32, raw(1u << 31)), aligned(gguf::u64, raw(uint64_t{1} << 63)), aligned(gguf::i32, raw(-32)),
                 aligned(gguf::text, gguf_text("32"))});
}

TEST_CASE("a GGUF tensor whose name, dimensions or type cannot be is refused", "[checkpoint][gguf][errors]") {
  constexpr uint64_t big = uint64_t{1} << 31;
  const auto typed = [](uint32_t type) {
    return Spoilt{"IQ4_NL or IQ4_XS of tensor w.f32, got type", [type](GgufSample& s) { s.tensors[0].type = type; }};
  };
  const auto dimensions = [](uint32_t count) {
    return Spoilt{"wanted 1 to 4 dimensions for tensor w.f32", [count](GgufSample& s) { s.tensors[0].dim_count = count; }};
  };
  const char* bounds = "dimensions in [1, 2^31] for tensor w.f32";
  check_refused({{"tensor name is empty", [](GgufSample& s) { s.tensors[0].name.clear(); }},
                 dimensions(0), dimensions(5), dimensions(~0u),
                 with_dims(bounds, {0, 3}), with_dims(bounds, {4, big + 1}), with_dims(bounds, {~uint64_t{0}, 3}),
                 with_dims("tensor w.f32 has too many elements", {big, big, 4}),
                 with_dims("tensor w.f32 has too many elements", {big, big, big, big}),  // 0 in 64 bits
                 with_dims("tensor w.f32 ends behind the end", {1u << 20, 1u << 20}),
                 with_dims("wanted tensor w.f16 at offset 96", {4, 5}),  // the next one no longer follows
                 typed(4), typed(31), typed(~0u),
                 {"rows of tensor w.q8_0 to be a multiple of 32", [](GgufSample& s) { s.tensors[3].dims = {16, 4}; }},
                 {"rows of tensor w.q4_1 to be a multiple of 32", [](GgufSample& s) { s.tensors[4].dims = {65}; }},
                 with_offset(0), with_offset(63), with_offset(65), with_offset(96), with_offset(uint64_t{1} << 40), with_offset(~uint64_t{0}),
                 with_offset(~uint64_t{0} - 31)});
}

TEST_CASE("a GGUF key of another type is named at every getter", "[checkpoint][gguf][errors]") {
  const TemporaryFolder folder;
  write_bytes(folder / "whole.gguf", sample().bytes());
  const GgufFile file(folder / "whole.gguf");
  using Key = const std::string&;
  const std::vector<std::pair<std::string, std::function<void(Key)>>> getters{
      {"t.u8 t.i16 t.u64", [&](Key key) { file.get_uint(key); }}, {"t.f32 t.f64", [&](Key key) { file.get_float(key); }},
      {"t.bool", [&](Key key) { file.get_bool(key); }},           {"t.text", [&](Key key) { file.get_string(key); }},
      {"t.texts", [&](Key key) { file.get_strings(key); }},       {"t.ints", [&](Key key) { file.get_ints(key); }}};

  for (const auto& [own, get] : getters) {
    CHECK_THAT(refusal([&] { get("t.none"); }), Contains("whole.gguf: key t.none is missing"));
    for (const std::string key : {"t.u8", "t.i8", "t.i16", "t.u64", "t.f32", "t.f64", "t.bool", "t.text", "t.texts", "t.ints", "t.floats"}) {
      INFO(key << " at the getter of " << own);
      const bool fits = (own + ' ').find(key + ' ') != std::string::npos;
      CHECK_THAT(refusal([&] { get(key); }), Contains(fits ? "" : "whole.gguf: wanted key " + key + " to be "));
      CHECK(refusal([&] { get(key); }).empty() == fits);
    }
  }
}

TEST_CASE("rows of q and k come back in the order that they had before llama.cpp's converter", "[checkpoint][gguf]") {
  const TemporaryFolder folder;
  const at::Tensor q = at::arange(12 * 12, at::kFloat).view({12, 12}), k = at::arange(4 * 12, at::kFloat).view({4, 12});
  const auto stored = [](const at::Tensor& w, int64_t heads) { return floats(w.view({heads, 2, 2, 12}).transpose(1, 2)); };
  GgufSample file = tiny_llama();
  file.tensors.push_back({"blk.0.attn_q.weight", {12, 12}, gguf::F32, stored(q, 3)});
  file.tensors.push_back({"blk.0.attn_k.weight", {12, 4}, gguf::F32, stored(k, 1)});

  const auto model = opened(file, folder);

  CHECK(at::equal(model->load("model.layers.0.self_attn.q_proj.weight", at::kFloat), q));
  CHECK(at::equal(model->load("model.layers.0.self_attn.k_proj.weight", at::kFloat), k));
}

TEST_CASE("a GGUF q tensor that does not hold the configured heads is refused by name", "[checkpoint][gguf][errors]") {
  const TemporaryFolder folder;
  const auto dims = GENERATE(std::vector<uint64_t>{12}, std::vector<uint64_t>{12, 5}, std::vector<uint64_t>{12, 2, 6}, std::vector<uint64_t>{12, 24});
  std::size_t bytes = sizeof(float);
  for (const uint64_t dim : dims) bytes *= dim;
  GgufSample file = tiny_llama();
  file.tensors.push_back({"blk.0.attn_q.weight", dims, gguf::F32, std::string(bytes, '\0')});

  const auto model = opened(file, folder);

  CHECK_THAT(refusal([&] { model->load("model.layers.0.self_attn.q_proj.weight", at::kFloat); }), Contains("self_attn.q_proj.weight"));
}

TEST_CASE("a GGUF tensor with a NaN, an infinity or a value beyond the wanted type is refused by name and count", "[checkpoint][gguf][errors]") {
  using Limits = std::numeric_limits<float>;
  const TemporaryFolder folder;
  const float bad = GENERATE(Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(), 1e30f);
  const int64_t where = GENERATE(0, 11);
  GgufSample file = tiny_llama();
  at::Tensor norm = at::ones({12});
  norm[where] = bad;
  file.tensors.push_back({"output_norm.weight", {12}, gguf::F32, floats(norm)});

  const auto model = opened(file, folder);

  CHECK_THAT(refusal([&] { model->load("model.norm.weight", at::kHalf); }), Contains("model.norm.weight holds 1 NaN or infinite"));
}
