#include "core/checkpoint/safetensors_file.h"

#include <functional>
#include <limits>

#include "tests/support/catch.h"

#include "core/checkpoint/checkpoint.h"
#include "tests/checkpoint/sample_files.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;
using Catch::Contains;

namespace {

const std::string kHeader =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"empty":{"dtype":"F16","shape":[0,3],"data_offsets":[32,32]},)"
    R"("scalar":{"dtype":"I64","shape":[],"data_offsets":[32,40]}})";
const std::string kData(40, '\x3c');

// One fp32 tensor x of 8 bytes, with these three fields.
std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"x":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

std::string refusal_of(const std::string& bytes) {
  const TemporaryFolder folder;
  write_bytes(folder / "spoilt.safetensors", bytes);
  const std::string said = refusal([&] { SafetensorsFile(folder / "spoilt.safetensors"); });
  if (!said.empty()) CHECK_THAT(said, Contains("spoilt.safetensors"));
  return said;
}

// A folder as Hugging Face lays it out.
class ModelFolder {
 public:
  ModelFolder() {
    config(Json::object());
    write("model.safetensors", safetensors_bytes(kHeader, kData));
  }
  void config(const Json& changes) const {
    Json all = config_to_hf(tiny_decoder().config);
    all.merge_patch(changes);
    write("config.json", all.dump());
  }
  void write(const std::string& name, const std::string& bytes) const { write_bytes(folder_ / name, bytes); }
  void index(const Json& weight_map) const { write("model.safetensors.index.json", Json{{"weight_map", weight_map}}.dump()); }
  fs::path operator/(const std::string& name) const { return folder_ / name; }
  std::string refusal() const {
    return test::refusal([&] { Checkpoint::open(folder_.path()); });
  }
  std::shared_ptr<Checkpoint> open() const { return Checkpoint::open(folder_.path()); }

 private:
  TemporaryFolder folder_;
};

void check_refused_at_every_cut(const ModelFolder& model, const std::string& name) {
  REQUIRE(model.refusal().empty());
  for (std::size_t size = fs::file_size(model / name); size-- > 0;) {
    fs::resize_file(model / name, size);
    INFO(size << " bytes");
    REQUIRE_THAT(model.refusal(), Contains(name));
  }
}

std::string one_tensor(const std::string& name) {
  return safetensors_bytes(R"({")" + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", raw(1.0f));
}

}  // namespace

TEST_CASE("a safetensors file gives its types, shapes and bytes", "[checkpoint]") {
  const TemporaryFolder folder;
  const auto padding = GENERATE(0, 1, 9);
  write_bytes(folder / "whole", safetensors_bytes(kHeader + std::string(static_cast<std::size_t>(padding), ' '), kData));

  const SafetensorsFile read(folder / "whole");

  REQUIRE(read.tensors().size() == 4);
  CHECK(read.tensors().at("a").type == SafeType::f32);
  CHECK(read.tensors().at("a").shape == std::vector<int64_t>{2, 3});
  CHECK(read.tensors().at("b").bytes.size() == 8);
  CHECK(read.tensors().at("empty").bytes.empty());
  CHECK(read.tensors().at("scalar").shape.empty());
}

TEST_CASE("a safetensors file cut at any byte is refused by name", "[checkpoint][errors]") {
  const TemporaryFolder folder;
  const fs::path file = folder / "cut.safetensors";
  write_bytes(file, safetensors_bytes(kHeader, kData));
  REQUIRE(refusal([&] { SafetensorsFile{file}; }).empty());

  for (std::size_t size = fs::file_size(file); size-- > 0;) {
    fs::resize_file(file, size);
    INFO(size << " bytes");
    REQUIRE_THAT(refusal([&] { SafetensorsFile{file}; }), Contains("cut.safetensors"));
  }
}

TEST_CASE("a safetensors file with any one byte inverted opens or is refused, and never does else", "[checkpoint][errors]") {
  const TemporaryFolder folder;
  const std::string whole = safetensors_bytes(kHeader, kData);
  std::size_t refusals = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string spoilt = whole;
    spoilt[at] = static_cast<char>(~spoilt[at]);
    write_bytes(folder / "spoilt", spoilt);
    if (!refusal([&] { SafetensorsFile(folder / "spoilt"); }).empty()) ++refusals;
  }
  CHECK(refusals == whole.size() - kData.size());  // the inverse of a header's byte is no UTF-8 there
}

TEST_CASE("a safetensors header length beyond the file is refused", "[checkpoint][errors]") {
  const auto length = GENERATE(uint64_t{1000}, uint64_t{100000001}, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 7);
  CHECK_THAT(refusal_of(raw(length) + kHeader + kData), Contains("wanted a header of at most"));
}

TEST_CASE("a safetensors header that is not one strict JSON object is refused", "[checkpoint][errors]") {
  const std::string twice = R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  const std::string deep = R"({"x":)" + std::string(1000000, '[') + std::string(1000000, ']') + '}';
  const std::vector<std::pair<const char*, std::string>> cases{{"wanted '{'", ""},
                                                               {"wanted '{'", "[1]"},
                                                               {"wanted '{'", " {}"},
                                                               {"malformed JSON", "{} x"},
                                                               {"malformed JSON", std::string("{}\0", 3)},
                                                               {"malformed JSON", "{\"\xff\":1}"},
                                                               {"malformed JSON", R"({"x":1e400})"},
                                                               {"'x' twice", twice},
                                                               {"nested levels", deep},
                                                               {"wanted dtype, shape and data_offsets", R"({"x":3})"},
                                                               {"wanted dtype, shape and data_offsets", R"({"x":{"dtype":"F32","shape":[1]}})"},
                                                               {"__metadata__", R"({"__metadata__":{"n":1}})"},
                                                               {"__metadata__", R"({"__metadata__":["pt"]})"}};
  for (const auto& [wanted, header] : cases) {
    INFO(header.substr(0, 60));
    CHECK_THAT(refusal_of(safetensors_bytes(header, "")), Contains(wanted));
  }
}

TEST_CASE("a safetensors entry whose type, shape and place do not agree is refused by tensor", "[checkpoint][errors]") {
  const char *type = "dtype F32", *shape = "shape of non-negative integers", *counted = "size can be counted", *two = "two data_offsets",
             *within = "within the file", *fit = "fit the shape";
  const std::vector<std::pair<const char*, std::string>> cases{
      {type, entry(R"("F8_E4M3")", "[2]", "[0,8]")},
      {type, entry(R"("f32")", "[2]", "[0,8]")},
      {type, entry("0", "[2]", "[0,8]")},
      {shape, entry(R"("F32")", "[-2]", "[0,8]")},
      {shape, entry(R"("F32")", "[2.0]", "[0,8]")},
      {shape, entry(R"("F32")", "2", "[0,8]")},
      {shape, entry(R"("F32")", "[1,1,1,1,1,1,1,1,2]", "[0,8]")},
      {shape, entry(R"("F32")", "[18446744073709551616]", "[0,8]")},
      {shape, entry(R"("F32")", "[4611686018427387904]", "[0,8]")},                         // 2^62
      {counted, entry(R"("F32")", "[4294967296,4294967296]", "[0,8]")},                     // 2^66 bytes are 4 in 64 bits
      {counted, entry(R"("F32")", "[2147483648,2147483648,2147483648,2]", "[0,0]")},        // 2^96 bytes are 0
      {counted, entry(R"("F32")", "[0,2305843009213693952,2305843009213693952]", "[0,0]")}, // empty, but its strides overflow
      {two, entry(R"("F32")", "[2]", "[0]")},
      {two, entry(R"("F32")", "[2]", "[0,4,8]")},
      {two, entry(R"("F32")", "[2]", "[-8,0]")},
      {two, entry(R"("F32")", "[2]", "[0.0,8.0]")},
      {two, entry(R"("F32")", "[2]", R"({"0":0,"1":8})")},
      {two, entry(R"("F32")", "[2]", "[18446744073709551608,18446744073709551615]")},
      {within, entry(R"("F32")", "[2]", "[8,0]")},
      {within, entry(R"("F32")", "[3]", "[0,12]")},
      {within, entry(R"("F32")", "[2]", "[4611686018427387000,4611686018427387008]")},
      {fit, entry(R"("F32")", "[1]", "[0,8]")},
      {fit, entry(R"("F16")", "[2]", "[0,8]")},
      {fit, entry(R"("F32")", "[0]", "[0,8]")}};
  for (const auto& [wanted, header] : cases) {
    INFO(header);
    const std::string said = refusal_of(safetensors_bytes(header, std::string(8, '\0')));
    CHECK_THAT(said, Contains("tensor x"));
    CHECK_THAT(said, Contains(wanted));
  }
}

TEST_CASE("safetensors data that overlaps, leaves a hole or trails is refused", "[checkpoint][errors]") {
  const auto two = [](const char* first, const char* second) {
    return std::string(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":)") + first + R"(},"y":{"dtype":"F32","shape":[1],"data_offsets":)" + second + "}}";
  };
  CHECK(refusal_of(safetensors_bytes(two("[4,8]", "[0,4]"), std::string(8, '\0'))).empty());
  CHECK_THAT(refusal_of(safetensors_bytes(two("[0,4]", "[0,4]"), std::string(8, '\0'))), Contains("no hole, no overlap"));
  CHECK_THAT(refusal_of(safetensors_bytes(two("[0,4]", "[2,6]"), std::string(8, '\0'))), Contains("wanted tensor y at data byte 4"));
  CHECK_THAT(refusal_of(safetensors_bytes(two("[0,4]", "[8,12]"), std::string(12, '\0'))), Contains("wanted tensor y at data byte 4"));
  CHECK_THAT(refusal_of(safetensors_bytes(two("[1,5]", "[5,9]"), std::string(9, '\0'))), Contains("wanted tensor x at data byte 0"));
  CHECK_THAT(refusal_of(safetensors_bytes(kHeader, kData + '\0')), Contains("wanted 40 data bytes, got 41"));
}

TEST_CASE("a model folder whose weights, configuration or index are cut at any byte is refused by file", "[checkpoint][errors]") {
  const ModelFolder model;
  const std::string name = GENERATE(as<std::string>{}, "model.safetensors", "config.json", "model.safetensors.index.json");
  if (name == "model.safetensors.index.json") model.index({{"a", "model.safetensors"}, {"b", "model.safetensors"}});
  check_refused_at_every_cut(model, name);
}

TEST_CASE("an index that names a file or tensor which is not there, or leaves the folder, is refused", "[checkpoint][errors]") {
  const ModelFolder model;
  model.write("one.safetensors", one_tensor("one"));
  model.write("two.safetensors", one_tensor("two"));
  model.write("again.safetensors", one_tensor("one"));
  model.index({{"one", "one.safetensors"}, {"two", "two.safetensors"}});
  REQUIRE(model.open()->load("two", at::kFloat).item<float>() == 1.0f);

  const std::string pair = R"({"pair":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"two":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})";
  model.write("pair.safetensors", safetensors_bytes(pair, std::string(8, '\0')));
  const char *outside = "wanted a file of this folder for one", *no_map = "wanted a weight_map object";
  const std::vector<std::pair<const char*, Json>> cases{
      {"three.safetensors", {{"one", "three.safetensors"}}},
      {outside, {{"one", "../one.safetensors"}}},
      {outside, {{"one", (model / "one.safetensors").string()}}},
      {outside, {{"one", ".."}}},
      {outside, {{"one", ""}}},
      {outside, {{"one", std::string("one.safetensors\0", 16)}}},
      {"two.safetensors holds no tensor one", {{"one", "two.safetensors"}}},
      {"one.safetensors holds no tensor two", {{"one", "one.safetensors"}, {"pair", "pair.safetensors"}, {"two", "one.safetensors"}}},
      {"tensor one stands in two files", {{"one", "again.safetensors"}, {"two", "two.safetensors"}, {"x", "one.safetensors"}}},
      {"wanted file names in weight_map", {{"one", 1}}},
      {no_map, Json::array({"one.safetensors"})},
      {no_map, nullptr}};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    model.index(cases[i].second);
    INFO("case " << i);
    CHECK_THAT(model.refusal(), Contains(cases[i].first));
  }
  model.write("model.safetensors.index.json", "[]");
  CHECK_THAT(model.refusal(), Contains(no_map));
}

TEST_CASE("a folder without config.json or weights is refused by the file's name", "[checkpoint][errors]") {
  const ModelFolder model;
  const std::string name = GENERATE(as<std::string>{}, "config.json", "model.safetensors");
  fs::remove(model / name);
  CHECK_THAT(model.refusal(), Contains(name));
}

TEST_CASE("a configuration with a missing or absurd number is refused by field", "[checkpoint][errors]") {
  const ModelFolder model;
  const std::string field = GENERATE(as<std::string>{}, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                                     "num_key_value_heads", "head_dim", "max_position_embeddings");
  for (const Json& value : Json::array({-1, 0, int64_t{1} << 40, ~uint64_t{0}, 4.0, 1e300, "4", Json::array({4}), true})) {
    model.config({{field, value}});
    INFO(value);
    CHECK_THAT(model.refusal(), Contains("config.json: wanted " + field));
  }
  const bool has_default = field == "num_key_value_heads" || field == "head_dim" || field == "max_position_embeddings";
  model.config({{field, nullptr}});
  CHECK_THAT(model.refusal(), Contains(has_default ? "" : "field " + field + " is missing"));
  CHECK(model.refusal().empty() == has_default);
}

TEST_CASE("a configuration that would change the computation in a way we do not have is refused", "[checkpoint][errors]") {
  const ModelFolder model;
  const std::vector<std::pair<const char*, Json>> cases{{"divisible", {{"num_key_value_heads", 3}}},
                                                        {"even head_dim", {{"head_dim", 7}}},
                                                        {"num_key_value_heads", {{"num_key_value_heads", 8}}},
                                                        {"rms_norm_eps", {{"rms_norm_eps", 0}}},
                                                        {"rms_norm_eps", {{"rms_norm_eps", "1e-5"}}},
                                                        {"rope_theta", {{"rope_theta", -1}}},
                                                        {"rope_theta", {{"rope_theta", 1e300}}},
                                                        {"rope_scaling", {{"rope_scaling", {{"type", "yarn"}}}}},
                                                        {"attention_bias", {{"attention_bias", "yes"}}},
                                                        {"hidden_act", {{"hidden_act", "relu"}}},
                                                        {"model_type", {{"model_type", "mamba"}}},
                                                        {"model_type", {{"model_type", nullptr}}},
                                                        {"mla object", {{"model_type", "mlaforge"}}},
                                                        {"mla object", {{"model_type", "mlaforge"}, {"mla", 3}}}};
  for (const auto& [wanted, change] : cases) {
    model.config(change);
    INFO(change);
    CHECK_THAT(model.refusal(), Contains(wanted));
  }
  model.write("config.json", "[]");
  CHECK_THAT(model.refusal(), Contains("config.json: wanted an object"));
}

TEST_CASE("a tensor with a NaN, an infinity or a value beyond the wanted type is refused by name and count", "[checkpoint][errors]") {
  const ModelFolder model;
  const float bad = GENERATE(std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(), 1e30f);
  const auto write = [&](const std::string& data) {
    model.write("model.safetensors", safetensors_bytes(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", data));
  };
  for (const std::string& data : {raw(bad) + raw(1.0f), raw(1.0f) + raw(bad)}) {
    write(data);
    CHECK_THAT(refusal([&] { model.open()->load("x", at::kHalf); }), Contains("tensor x holds 1 NaN or infinite"));
  }
  write(raw(3e38f) + raw(3e38f));  // finite, though their sum is not
  CHECK(model.open()->load("x", at::kFloat).numel() == 2);
}
