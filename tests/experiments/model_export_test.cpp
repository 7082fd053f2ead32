// Tiny models written for each target: what is recorded, what is refused, what a failed comparison leaves.
#include "experiments/model_export.h"

#include <fstream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/model/model_folder.h"
#include "experiments/model_parity.h"
#include "tests/methods/tiny_conversions.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

constexpr const char* kTokenizerConfig = "{ \"eos_token\" : \"z\",\n\"chat_template\":\"{{ x }}\" }";  // no writer of ours would space it so

// A converted model that lies in a folder, with the files of its tokenizer.
struct Bench {
  TemporaryFolder folder;
  LoadedModel loaded;
  CalibrationSamples samples;

  explicit Bench(Decoder decoder) {
    const Tokenizer tokenizer = letter_tokenizer();
    save_model(decoder, {{"tokenizer.json", tokenizer.to_tokenizer_json().dump(3)}, {"tokenizer_config.json", kTokenizerConfig}, {"chat_template.jinja", "{{ x }}\n"}}, {},
               folder / "source");
    loaded.name = "tiny";
    loaded.path = (folder / "source").string();
    loaded.tokenizer = Tokenizer::load(folder / "source");
    loaded.decoder = std::move(decoder);
    samples = built_in_samples(*loaded.tokenizer, loaded.decoder.config.max_position);
  }
  Json write(const std::string& target, std::optional<bool> check = std::nullopt) {
    return export_model({loaded, loaded.decoder, {{"method", "transmla"}}, samples}, {target, check}, (folder / "out").string());
  }
};

Decoder converted() { return convert_with(tiny_decoder(), "transmla", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}}).converted; }

Decoder in_bf16(Decoder model) {
  for (at::Tensor* tensor : {&model.embedding, &model.final_norm, &model.head}) *tensor = tensor->to(at::kBFloat16);
  for (DecoderLayer& layer : model.layers) {
    for (at::Tensor* tensor : {&layer.attention_norm, &layer.mlp_norm, &layer.gate_up, &layer.down}) *tensor = tensor->to(at::kBFloat16);
    layer.attention = to(layer.attention, at::kCPU, at::kBFloat16);
  }
  return model;
}

}  // namespace

TEST_CASE("each target's folder is checked, says where it loads, and carries the tokenizer's files byte for byte", "[export]") {
  const std::vector<std::pair<std::string, Json>> targets{{"mlaforge", {"mlaforge"}}, {"transformers", {"transformers"}}, {"vllm", {"vllm", "transformers"}}, {"llama.cpp", {"llama.cpp"}}};
  for (const auto& [target, loads_in] : targets) {
    Bench bench(converted());
    const Json exported = bench.write(target), record = read_json_file(bench.folder / "out/mla_conversion.json");
    INFO(target);
    CHECK(record["loads_in"] == loads_in);
    CHECK(record["method"] == "transmla");
    CHECK(record["parity"] == exported["parity"]);
    CHECK(record["parity"]["kl_nats"].get<double>() <= kExactNats);
    CHECK(record.contains("approximation") == (target == "vllm" || target == "llama.cpp"));
    CHECK_THAT(describe_export(exported, "out"), Contains("read back and checked"));
    if (target == "llama.cpp") {
      CHECK(fs::is_regular_file(bench.folder / "out/model.gguf"));
      continue;
    }
    CHECK(record["sha256"].contains("model.safetensors"));
    for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"})
      CHECK(read_text_file(bench.folder / "out" / name) == read_text_file(bench.folder / "source" / name));
  }
}

TEST_CASE("a folder that is not checked says so", "[export]") {
  Bench bench(converted());
  const Json exported = bench.write("transformers", false);
  CHECK(exported["parity"].is_null());
  CHECK_THAT(describe_export(exported, "out"), Contains("not checked"));
}

TEST_CASE("in bf16 the written model may lose little more than the model loses there by itself", "[export]") {
  Bench bench(in_bf16(converted()));
  const Json parity = bench.write("mlaforge")["parity"];
  CHECK(parity["kl_nats"].get<double>() > 0);  // held against fp32
  CHECK(parity["kl_nats"].get<double>() <= parity["bound_nats"].get<double>());
}

TEST_CASE("a target that cannot hold the model leaves no folder", "[export][errors]") {
  Bench bench(convert_with(tiny_decoder(), "mha2mla", {{"rope_selection", "high"}, {"rope_dim", 4}, {"svd", "none"}}).converted);
  for (const std::string target : {"transformers", "vllm", "llama.cpp"}) {
    CHECK_THROWS_WITH(bench.write(target), Contains(target + " cannot hold this model"));
    CHECK(std::distance(fs::directory_iterator(bench.folder.path()), {}) == 1);  // the source alone
  }
}

TEST_CASE("a model that differs in one weight by little is no equal", "[export][errors]") {
  const Decoder model = converted();
  Decoder other = model;
  auto& layer = std::get<MlaWeights>(other.layers[1].attention);
  layer.kv_b = layer.kv_b * 1.01;
  const at::Tensor ids = tiny_ids(1, 30, 50);
  CHECK_NOTHROW(require_parity(model, model, ids));
  CHECK_THROWS_AS(require_parity(model, other, ids), NumericalError);
  CHECK_THROWS_WITH(require_parity(model, other, ids), Contains("nothing was kept"));
}
