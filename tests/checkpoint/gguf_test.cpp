// The GGUF reader trusts nothing: every cut and every contradiction is a CheckpointError that names the file.
#include "core/base/error.h"
#include "core/checkpoint/gguf_file.h"
#include "tests/checkpoint/sample_files.h"
#include "tests/support/catch.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

// Keys of several kinds and five tensors, one of each type; the last one ends with the file.
GgufSample valid() {
  GgufSample s;
  s.keys = {gguf_key("a.u32", gguf::u32, raw(uint32_t{7})), gguf_key("a.f32", gguf::f32, raw(1.5f)), gguf_key("a.bool", gguf::boolean, raw(uint8_t{1})),
            gguf_key("a.text", gguf::text, gguf_text("words")), gguf_key("a.u64", gguf::u64, raw(uint64_t{1} << 40)),
            gguf_array("a.texts", gguf::text, 2, gguf_text("x") + gguf_text("yy")),
            gguf_array("a.ints", gguf::i32, 3, raw(int32_t{1}) + raw(int32_t{-2}) + raw(int32_t{3}))};
  s.tensors = {{"f32", {3, 2}, gguf::F32, std::string(24, '1')}, {"f16", {4}, gguf::F16, std::string(8, '2')},
               {"bf16", {2, 2}, gguf::BF16, std::string(8, '3')}, {"q8_0", {32}, gguf::Q8_0, std::string(34, '4')},
               {"q4_1", {32, 2}, gguf::Q4_1, std::string(40, '5')}};
  return s;
}

const TemporaryFolder& folder() {
  static const TemporaryFolder instance;
  return instance;
}

GgufFile read(const GgufSample& image) {
  write_bytes(folder() / "made.gguf", image.bytes());
  return GgufFile(folder() / "made.gguf");
}

void refused(const GgufSample& image, const std::string& says) {
  INFO(says);
  CHECK_THROWS_AS(read(image), CheckpointError);
  CHECK_THROWS_WITH(read(image), Contains("made.gguf") && Contains(says));
}

template <class Edit>
void refused_after(const Edit& edit, const std::string& says) {
  GgufSample image = valid();
  edit(image);
  refused(image, says);
}

}  // namespace

TEST_CASE("a well-formed GGUF file gives its keys, shapes and bytes", "[checkpoint][gguf]") {
  for (const uint32_t version : {2u, 3u}) {
    GgufSample image = valid();
    image.version = version;
    const GgufFile file = read(image);
    CHECK(file.get_uint("a.u32") == 7);
    CHECK(file.get_uint("a.u64") == uint64_t{1} << 40);
    CHECK(file.get_float("a.f32") == 1.5);
    CHECK(file.get_bool("a.bool"));
    CHECK(file.get_string("a.text") == "words");
    CHECK(file.get_strings("a.texts") == std::vector<std::string>{"x", "yy"});
    CHECK(file.get_ints("a.ints") == std::vector<int64_t>{1, -2, 3});
    REQUIRE(file.tensors().size() == 5);
    CHECK(file.find("f32")->shape == std::vector<int64_t>{2, 3});  // slowest first
    CHECK(file.find("q4_1")->bytes.size() == 40);
    CHECK(file.find("q8_0")->elements() == 32);
    CHECK(file.find("none") == nullptr);
  }
}

TEST_CASE("a GGUF file cut at any byte is refused", "[checkpoint][gguf][errors]") {
  const std::string whole = valid().bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_bytes(folder() / "cut.gguf", whole.substr(0, size));
    INFO("cut at " << size << " of " << whole.size());
    CHECK_THROWS_AS(GgufFile(folder() / "cut.gguf"), CheckpointError);
    CHECK_THROWS_WITH(GgufFile(folder() / "cut.gguf"), Contains("cut.gguf"));
  }
}

TEST_CASE("a GGUF file with any one byte inverted opens or is refused, and never does else", "[checkpoint][gguf][errors]") {
  const std::string whole = valid().bytes();
  int refusals = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string spoilt = whole;
    spoilt[at] = static_cast<char>(~spoilt[at]);
    write_bytes(folder() / "spoilt.gguf", spoilt);
    try {
      const GgufFile file(folder() / "spoilt.gguf");
      for (const GgufTensor& tensor : file.tensors()) CHECK(tensor.offset + tensor.bytes.size() <= whole.size());
    } catch (const CheckpointError&) {
      ++refusals;
    }
  }
  CHECK(refusals > 200);
}

// Bounds, counts, offsets and types: gguf_limits_test.cpp.
TEST_CASE("a GGUF file that contradicts itself is refused by name", "[checkpoint][gguf][errors]") {
  for (const uint32_t version : {0u, 1u, 4u}) refused_after([&](GgufSample& s) { s.version = version; }, "version 2 or 3");
  refused_after([](GgufSample& s) { s.keys[5] = gguf_array("a.texts", gguf::array, 1, ""); }, "nested");
  refused_after([](GgufSample& s) { s.keys[1] = s.keys[0]; }, "a.u32 stands twice");
  refused_after([](GgufSample& s) { s.keys[0] = gguf_key("", gguf::u32, raw(uint32_t{7})); }, "empty");
  refused_after([](GgufSample& s) { s.tensors[1].name = "f32"; }, "f32 stands twice");
  refused_after([](GgufSample& s) { s.tensors[0].name = std::string(64, 'n'); }, "tensor name");
  refused_after([](GgufSample& s) { s.tensors[4].dims = {32, 3}; }, "behind the end");
}
