// Tiny models written for each target: what is recorded, what is refused, what a failed comparison leaves.
#include "experiments/model_export.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/model/deepseek_folder.h"
#include "core/model/deepseek_gguf.h"
#include "experiments/model_parity.h"
#include "tests/methods/tiny_conversions.h"
#include "tests/support/catch.h"
#include "tests/support/family_models.h"
#include "tests/support/paths.h"
#include "tests/support/spoilt_folder.h"

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

// Norms that the family keeps in fp32 stay so.
Decoder in_bf16(Decoder model) {
  const bool wide = model.config.wide_norms;
  const auto narrow = [&](at::Tensor& tensor) {
    if (tensor.defined() && !(wide && tensor.dim() == 1)) tensor = tensor.to(at::kBFloat16);
  };
  narrow(model.embedding), narrow(model.final_norm), narrow(model.head);
  for (DecoderLayer& layer : model.layers) each_layer_tensor(layer, narrow);
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

TEST_CASE("a model whose keys turn in every dim is written for transformers, read back and equal", "[export]") {
  Bench bench(convert_with(tiny_decoder(), "mla_retrofit", {{"rope_mode", "extend"}}).converted);
  CHECK(bench.write("transformers")["parity"]["kl_nats"].get<double>() <= kExactNats);
  CHECK(read_json_file(bench.folder / "out/config.json")["qk_nope_head_dim"] == 0);
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

namespace {

struct Mistake {
  const char* what;
  Spoil spoil;
};

const std::vector<Mistake> kOfOwnFolders{
    {"scale of the scores", [](Json& config, Tensors&) { config["mla"]["layers"][0]["scale"] = 1.05 * config["mla"]["layers"][0]["scale"].get<double>(); }},
    {"rows of the rope key as neighbours", [](Json&, Tensors& t) { each_named(t, "k_rope_proj.weight", [](at::Tensor& x) { x = interleave_rope_rows(x, 1, x.size(0)); }); }},
    {"bias of the latent", [](Json&, Tensors& t) { each_named(t, "kv_a_proj.bias", [](at::Tensor& x) { x.zero_(); }); }},
    {"bias of the queries", [](Json&, Tensors& t) { each_named(t, "q_proj.bias", [](at::Tensor& x) { x.zero_(); }); }},
    {"attention factor", [](Json& config, Tensors&) { config["mla"]["layers"][1]["attention_factor"] = 1.1; }}};
const std::vector<Mistake> kOfDeepseekFolders{
    {"interleave flag", [](Json& config, Tensors&) { config["rope_interleave"] = false; }},
    {"scale of the scores", [](Json&, Tensors& t) { each_named(t, "kv_a_layernorm.weight", [](at::Tensor& x) { x *= 1.05; }); }},
    {"theta", [](Json& config, Tensors&) { config["rope_theta"] = 9000.0; }}};
const std::vector<Mistake> kOfBiases{{"bias of the latent", [](Json&, Tensors& t) { each_named(t, "kv_a_proj_with_mqa.bias", [](at::Tensor& x) { x.zero_(); }); }},
                                   {"bias of the queries", [](Json&, Tensors& t) { each_named(t, "q_a_proj.bias", [](at::Tensor& x) { x.zero_(); }); }}};

Decoder biased() { return convert_with(with_biases(tiny_decoder()), "transmla", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}}).converted; }

void check_found(const Bench& bench, const LayerStream& wanted, const std::string& target, const std::vector<Mistake>& errors) {
  const at::Tensor ids = tiny_ids(1, 30, 50);
  CHECK_NOTHROW(check_written(wanted, target, bench.folder / "out", ids));
  for (const Mistake& error : errors) {
    INFO(target << ": " << error.what);
    const TemporaryFolder folder;
    spoil_folder(bench.folder / "out", folder / "spoilt", error.spoil);
    CHECK_THROWS_AS(check_written(wanted, target, folder / "spoilt", ids), NumericalError);
  }
}

}  // namespace

TEST_CASE("a flag that is flipped, a bias that is dropped and a scale that is wrong are found in every target's folder", "[export][errors]") {
  for (const std::string target : {"mlaforge", "transformers"}) {
    Bench bench(biased());
    bench.write(target);
    check_found(bench, bench.loaded.decoder, target, target == "mlaforge" ? kOfOwnFolders : kOfDeepseekFolders);
    if (target == "transformers") check_found(bench, bench.loaded.decoder, target, kOfBiases);
  }
  Bench bench(converted());
  bench.write("vllm");
  check_found(bench, load_deepseek(bench.folder / "out", at::kCPU, at::kFloat), "vllm", kOfDeepseekFolders);
}

TEST_CASE("rows in the wrong order and a wrong scale are found in a GGUF as well", "[export][errors]") {
  Bench bench(converted());
  bench.write("llama.cpp");
  const Decoder form = load_deepseek_gguf(bench.folder / "out/model.gguf", at::kCPU, at::kFloat);
  const at::Tensor ids = tiny_ids(1, 30, 50);
  const auto found = [&](const char* what, const std::function<void(Decoder&, MlaWeights&)>& spoil) {
    Decoder spoilt = form;
    spoil(spoilt, std::get<MlaWeights>(spoilt.layers[0].attention));
    const TemporaryFolder folder;
    save_deepseek_gguf(spoilt, letter_tokenizer(), {"tiny", "", "{}"}, folder / "model.gguf");
    INFO(what);
    CHECK_THROWS_AS(check_written(form, "llama.cpp", folder.path(), ids), NumericalError);
  };
  CHECK_NOTHROW(check_written(form, "llama.cpp", bench.folder / "out", ids));
  found("rows of the rope key", [](Decoder&, MlaWeights& w) { w.k_rope = interleave_rope_rows(w.k_rope, 1, w.k_rope.size(0)); });
  found("scale of the scores", [](Decoder&, MlaWeights& w) { w.q_b = 1.05 * w.q_b; });
  found("norm of the latent", [](Decoder&, MlaWeights& w) { w.kv_a_norm = 1.05 * w.kv_a_norm; });
  found("theta", [](Decoder& model, MlaWeights&) { model.config.rope_theta = 9000; });
}

TEST_CASE("weights of 16 bits with biases, experts and norms behind the layers are held against fp32 as well", "[export]") {
  for (const char* name : {"llama_biases", "mixtral", "gemma2"}) {
    Bench bench(in_bf16(family_model(name)));
    INFO(name);
    CHECK(bench.write("mlaforge")["parity"]["kl_nats"].get<double>() > 0);
  }
}

// tests/oracle/export_families.py: transformers' own logits with our exports.
TEST_CASE("every method that lists transformers was measured there on every family that has a place in DeepSeek's classes", "[export][golden]") {
  const Json measured = read_json_file(golden("export_families.json"));
  std::map<std::string, std::set<std::string>> families;  // by method
  for (const Json& row : measured["rows"]) {
    const std::string method = row["method"], family = row["family"];
    INFO(family << ", " << method);
    if (row.contains("refused")) {
      CHECK_THAT(row["refused"].get<std::string>(), Contains("transformers cannot hold this model"));
      continue;
    }
    CHECK(row["kl_nats"].get<double>() <= kExactNats);
    CHECK(row["bf16_ratio"].get<double>() <= 1.25);
    families[method.substr(0, method.find(','))].insert(family);
  }
  for (const RecipeEntry* entry : recipes()) {
    const bool lists = std::any_of(entry->exports.begin(), entry->exports.end(), [](const char* target) { return std::string(target) == "transformers"; });
    INFO(entry->name);
    CHECK(families[entry->name].size() == (lists ? 8u : 0u));
  }
}
