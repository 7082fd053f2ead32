// The GGUF reader trusts nothing: every cut and every contradiction is a CheckpointError that names the file.
#include <random>

#include "core/base/error.h"
#include "core/checkpoint/gguf_file.h"
#include "tests/support/bytes.h"
#include "tests/support/catch.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

std::string text(const std::string& value) { return raw(uint64_t{value.size()}) + value; }
std::string key(const std::string& name, uint32_t type, const std::string& value) { return text(name) + raw(type) + value; }
constexpr uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kText = 8, kArray = 9, kU64 = 10;

struct Entry {
  std::string name;
  std::vector<uint64_t> dims;  // fastest first, as the format has them
  uint32_t type;
  uint64_t offset;
};

// The parts of a file, so that a test can spoil one of them.
struct Image {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> keys;
  std::vector<Entry> tensors;
  std::optional<uint64_t> key_count, tensor_count;
  std::string data;
  uint64_t alignment = 32;

  std::string bytes() const {
    std::string out = magic + raw(version) + raw(tensor_count.value_or(tensors.size())) + raw(key_count.value_or(keys.size()));
    for (const std::string& each : keys) out += each;
    for (const Entry& tensor : tensors) {
      out += text(tensor.name) + raw(static_cast<uint32_t>(tensor.dims.size()));
      for (const uint64_t dim : tensor.dims) out += raw(dim);
      out += raw(tensor.type) + raw(tensor.offset);
    }
    out.append((alignment - out.size() % alignment) % alignment, '\0');
    return out + data;
  }
};

// Five tensors, one of each type; the last one ends with the file.
Image valid() {
  Image image;
  image.keys = {key("a.u32", kU32, raw(uint32_t{7})), key("a.i32", kI32, raw(int32_t{-7})), key("a.f32", kF32, raw(1.5f)),
                key("a.bool", kBool, raw(uint8_t{1})), key("a.text", kText, text("words")), key("a.u64", kU64, raw(uint64_t{1} << 40)),
                key("a.texts", kArray, raw(kText) + raw(uint64_t{2}) + text("x") + text("yy")),
                key("a.ints", kArray, raw(kI32) + raw(uint64_t{3}) + raw(int32_t{1}) + raw(int32_t{-2}) + raw(int32_t{3}))};
  image.tensors = {{"f32", {3, 2}, 0, 0}, {"f16", {4}, 1, 32}, {"bf16", {2, 2}, 30, 64}, {"q8_0", {32}, 8, 96}, {"q4_1", {32, 2}, 3, 160}};
  image.data.assign(200, '\x01');
  return image;
}

const TemporaryFolder& folder() {
  static const TemporaryFolder instance;
  return instance;
}

GgufFile read(const Image& image) {
  write_bytes(folder() / "made.gguf", image.bytes());
  return GgufFile(folder() / "made.gguf");
}

void refused(const Image& image, const std::string& says) {
  INFO(says);
  CHECK_THROWS_AS(read(image), CheckpointError);
  CHECK_THROWS_WITH(read(image), Contains("made.gguf") && Contains(says));
}

template <class Edit>
void refused_after(const Edit& edit, const std::string& says) {
  Image image = valid();
  edit(image);
  refused(image, says);
}

}  // namespace

TEST_CASE("a well-formed GGUF file gives its keys, shapes and bytes", "[checkpoint][gguf]") {
  for (const uint32_t version : {2u, 3u}) {
    Image image = valid();
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

TEST_CASE("a getter names the key that is missing or of another type", "[checkpoint][gguf]") {
  const GgufFile file = read(valid());
  CHECK_THROWS_WITH(file.get_uint("b"), Contains("made.gguf") && Contains("key b is missing"));
  CHECK_THROWS_WITH(file.get_uint("a.text"), Contains("a.text"));
  CHECK_THROWS_AS(file.get_uint("a.i32"), CheckpointError);  // negative
  CHECK_THROWS_AS(file.get_strings("a.ints"), CheckpointError);
  CHECK_THROWS_AS(file.get_float("a.u32"), CheckpointError);
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

TEST_CASE("200 cuts of the real model are refused", "[checkpoint][gguf][errors]") {
  if (smollm2().empty()) return skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  const fs::path copy = folder() / "real.gguf";
  fs::copy_file(smollm2(), copy);
  std::mt19937_64 random(200);
  std::vector<std::uintmax_t> sizes(200);
  for (std::uintmax_t& size : sizes) size = random() % fs::file_size(copy);
  std::sort(sizes.rbegin(), sizes.rend());
  for (const std::uintmax_t size : sizes) {
    fs::resize_file(copy, size);  // ever shorter
    INFO("cut at " << size);
    CHECK_THROWS_AS(GgufFile(copy), CheckpointError);
  }
}

TEST_CASE("what a GGUF header claims is checked before it is believed", "[checkpoint][gguf][errors]") {
  refused_after([](Image& i) { i.magic = "GGML"; }, "magic");
  for (const uint32_t version : {0u, 1u, 4u, 0x03000000u}) refused_after([&](Image& i) { i.version = version; }, "version 2 or 3");
  refused_after([](Image& i) { i.key_count = ~uint64_t{0}; }, "number of keys");
  refused_after([](Image& i) { i.tensor_count = uint64_t{1} << 60; }, "number of tensors");
  refused_after([](Image& i) { i.keys[4] = text("a.text") + raw(kText) + raw(uint64_t{1} << 62); }, "a.text");
  refused_after([](Image& i) { i.keys[6] = text("a.texts") + raw(kArray) + raw(kText) + raw(uint64_t{1} << 40); }, "a.texts");
  refused_after([](Image& i) { i.keys[6] = text("a.texts") + raw(kArray) + raw(kArray) + raw(uint64_t{1}); }, "nested");
  refused_after([](Image& i) { i.keys[0] = key("a.u32", 99, raw(uint32_t{7})); }, "a.u32");
  refused_after([](Image& i) { i.keys[1] = i.keys[0]; }, "a.u32 stands twice");
  refused_after([](Image& i) { i.keys[0] = key("", kU32, raw(uint32_t{7})); }, "empty");
  for (const uint32_t alignment : {0u, 3u, 4u, 1u << 20})
    refused_after([&](Image& i) { i.keys.push_back(key("general.alignment", kU32, raw(alignment))); }, "general.alignment");
}

TEST_CASE("what a GGUF tensor claims is checked before it is believed", "[checkpoint][gguf][errors]") {
  refused_after([](Image& i) { i.tensors[1].name = "f32"; }, "f32 stands twice");
  refused_after([](Image& i) { i.tensors[0].name = std::string(64, 'n'); }, "tensor name");
  refused_after([](Image& i) { i.tensors[0].dims = {}; }, "dimensions");
  refused_after([](Image& i) { i.tensors[0].dims = {1, 1, 1, 1, 6}; }, "dimensions");
  refused_after([](Image& i) { i.tensors[0].dims = {0, 2}; }, "f32");
  refused_after([](Image& i) { i.tensors[0].dims = {~uint64_t{0}}; }, "f32");
  refused_after([](Image& i) { i.tensors[0].dims = {1u << 30, 1u << 30, 1u << 30, 1u << 30}; }, "too many elements");
  refused_after([](Image& i) { i.tensors[0].type = 2; }, "of tensor f32, got type 2");
  refused_after([](Image& i) { i.tensors[4].dims = {31, 2}; }, "multiple of 32");
  refused_after([](Image& i) { i.tensors[1].offset = 0; }, "no overlap");
  refused_after([](Image& i) { i.tensors[1].offset = 24; }, "offset 32");  // at the end of f32, but not aligned
  refused_after([](Image& i) { i.tensors[1].offset = 64; }, "no hole");
  refused_after([](Image& i) { i.tensors[1].offset = ~uint64_t{0} - 31; }, "f16");
  refused_after([](Image& i) { i.tensors[4].dims = {32, 3}; }, "behind the end");
}
