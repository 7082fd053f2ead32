// DeepSeek's form of a converted model, its two kinds of files, and the errors in them that a comparison of logits finds.
#include "core/model/deepseek_folder.h"

#include <ATen/CPUGeneratorImpl.h>

#include <map>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/safetensors_folder.h"
#include "core/model/deepseek_gguf.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"
#include "tests/support/spoilt_folder.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

struct Shape {
  bool biases = false, query_latent = false, latent_norm = false, grid = true;
  int64_t rank = 12, rope = 6, rope_heads = 1;
};

at::Tensor drawn(std::initializer_list<int64_t> sizes, uint64_t seed, double scale) {
  return at::randn(at::IntArrayRef(sizes), at::detail::createCPUGenerator(seed), at::kFloat) * scale;
}

// A converted model of 2 layers: D 24, H 4, G 2, n 5, v 7; every width differs.
Decoder converted(const Shape& s, uint64_t seed = 3) {
  Decoder model = tiny_decoder();
  model.config.mla = Json::object();
  const int64_t width = 24, heads = 4, groups = 2, nope = 5, value = 7;
  for (DecoderLayer& layer : model.layers) {
    MlaWeights w;
    w.heads = heads, w.groups = groups, w.nope_dim = nope, w.v_dim = value;
    w.scale = 0.6;
    const int64_t queries = heads * (nope + s.rope);
    if (s.query_latent) w.q_a = drawn({9, width}, ++seed, 0.3), w.q_b = drawn({queries, 9}, ++seed, 0.4);
    else w.q = drawn({queries, width}, ++seed, 0.3);
    w.k_rope = drawn({s.rope_heads * s.rope, width}, ++seed, 0.3);
    w.kv_a = drawn({s.rank, width}, ++seed, 0.3);
    w.kv_b = drawn({groups * (nope + value), s.rank}, ++seed, 0.3);
    w.o = drawn({width, heads * value}, ++seed, 0.3);
    if (s.latent_norm) w.kv_a_norm = 1 + drawn({s.rank}, ++seed, 0.1);
    if (s.biases) {
      w.q_bias = drawn({queries}, ++seed, 0.5);
      w.k_rope_bias = drawn({s.rope_heads * s.rope}, ++seed, 0.5);
      w.kv_a_bias = drawn({s.rank}, ++seed, 0.5);
      w.o_bias = drawn({width}, ++seed, 0.5);
    }
    w.rope.inv_freq = s.grid ? standard_inv_freq(10000.0, s.rope).flip(0).contiguous() : at::tensor({0.9, 0.02, 0.4}, at::kDouble);
    w.rope.inv_freq = w.rope.inv_freq.unsqueeze(0).expand({s.rope_heads, s.rope / 2}).contiguous();
    layer.attention = w;
  }
  return model;
}

Decoder with_two_ranks() {
  Decoder model = converted({});
  model.layers[1].attention = converted({.rank = 8}, 40).layers[1].attention;
  return model;
}

at::Tensor logits_of(const Decoder& model) { return model.logits(model.last_hidden(tiny_ids(2, 19, 50))); }
double kl_between(const Decoder& a, const Decoder& b) { return mean_kl(logits_of(a), logits_of(b)); }

Decoder written_and_read(const Decoder& form, const TemporaryFolder& folder, at::ScalarType dtype = at::kFloat) {
  save_deepseek(form, "test", {}, {}, folder / "model");
  return load_deepseek(folder / "model", at::kCPU, dtype);
}

// Seeded, since it is a tolerance of seeded models: what the constant channel's second order and fp32 leave between equal models.
constexpr double kLogitRounding = 2e-4;

}  // namespace

TEST_CASE("the form of transformers computes what the converted model computes, with biases, query latents and any frequencies", "[export]") {
  for (const bool biases : {false, true})
    for (const bool query_latent : {false, true})
      for (const bool grid : {true, false}) {
        const Decoder model = converted({.biases = biases, .query_latent = query_latent, .grid = grid});
        const Decoder form = to_deepseek_form(model, deepseek_shape("transformers", 2));
        INFO("biases " << biases << ", query latent " << query_latent << ", grid " << grid);
        CHECK(kl_between(model, form) < kKlOfEquals);
        CHECK(max_relative_error(logits_of(form), logits_of(model)) < kLogitRounding);
        const auto& w = std::get<MlaWeights>(form.layers[0].attention);
        CHECK(w.rank() == 13);  // one more than the model's
        CHECK(w.groups == w.heads);
        CHECK_FALSE(w.q_bias.defined());
        CHECK(w.q_a.defined() == (biases || query_latent));
      }
}

TEST_CASE("a folder for transformers reads back as the very form that was written", "[export][io]") {
  for (const bool grid : {true, false}) {
    const TemporaryFolder folder;
    const Decoder form = to_deepseek_form(converted({.biases = true, .grid = grid}), deepseek_shape("transformers", 2));
    const Decoder read = written_and_read(form, folder);
    CHECK(max_relative_error(logits_of(read), logits_of(form)) < kFp32Reordering);
    const Json config = read_json_file(folder / "model/config.json");
    CHECK(config["rope_scaling"].is_null() == grid);
    CHECK(config["tie_word_embeddings"] == false);
    CHECK(config["first_k_dense_replace"] == 2);
    CHECK(SafetensorsFolder(folder / "model").has("lm_head.weight"));  // tied at the source
  }
}

TEST_CASE("ranks that differ by layer share the widest latent", "[export]") {
  const Decoder model = with_two_ranks();
  const Decoder form = to_deepseek_form(model, deepseek_shape("transformers", 2));
  CHECK(std::get<MlaWeights>(form.layers[1].attention).rank() == 13);
  CHECK(kl_between(model, form) < kKlOfEquals);
}

TEST_CASE("in 16 bits the form loses about what the model loses by itself", "[export]") {
  const at::ScalarType type = GENERATE(at::kBFloat16, at::kHalf);
  Decoder model = converted({.biases = true});
  const Decoder exact = model;
  for (at::Tensor* tensor : {&model.embedding, &model.final_norm, &model.head}) *tensor = tensor->to(type);
  for (DecoderLayer& layer : model.layers) {
    for (at::Tensor* tensor : {&layer.attention_norm, &layer.mlp_norm, &layer.gate_up, &layer.down}) *tensor = tensor->to(type);
    layer.attention = to(layer.attention, at::kCPU, type);
  }
  const double own = kl_between(exact, model), form = kl_between(exact, to_deepseek_form(model, deepseek_shape("transformers", 2)));
  INFO(own << " nats of the model, " << form << " of its form");
  CHECK(form < 3 * own);  // two tiny layers: the figure on a real model is in docs/export.md
}

TEST_CASE("padding for vLLM and the query latent of llama.cpp change nothing", "[export]") {
  const Decoder model = converted({.latent_norm = true});
  const Decoder padded = to_deepseek_form(model, deepseek_shape("vllm", 2));
  const auto& w = std::get<MlaWeights>(padded.layers[0].attention);
  CHECK(w.rank() == 256);
  CHECK(w.rope.dims() == 64);
  CHECK(max_relative_error(logits_of(padded), logits_of(model)) < kLogitRounding);
  const Decoder latent = to_deepseek_form(model, deepseek_shape("llama.cpp", 2));
  CHECK(std::get<MlaWeights>(latent.layers[0].attention).q_a_norm.defined());
  CHECK(max_relative_error(logits_of(latent), logits_of(model)) < kLogitRounding);
  CHECK_FALSE(std::get<MlaWeights>(to_deepseek_form(converted({.query_latent = true, .latent_norm = true}), deepseek_shape("llama.cpp", 27)).layers[0].attention).q_a.defined());
}

TEST_CASE("a GGUF for llama.cpp reads back as the form that was written", "[export][io]") {
  const TemporaryFolder folder;
  const Decoder form = to_deepseek_form(converted({.latent_norm = true}), deepseek_shape("llama.cpp", 2));
  save_deepseek_gguf(form, letter_tokenizer(), {"tiny", "", "{}"}, folder / "model.gguf");
  const Decoder read = load_deepseek_gguf(folder / "model.gguf", at::kCPU, at::kFloat);
  CHECK(max_relative_error(logits_of(read), logits_of(form)) < kLogitRounding);  // rope.freq_base is fp32 there
  const Tokenizer vocabulary(tokenizer_from_gguf(folder / "model.gguf"), "gguf");
  CHECK(vocabulary.encode("abz") == letter_tokenizer().encode("abz"));
  CHECK(vocabulary.vocab_size() == 50);  // the embedding's rows
}

TEST_CASE("each target names what it cannot hold", "[export][errors]") {
  const auto refused = [](const Decoder& model, const std::string& target, const std::string& says) {
    INFO(target << ": " << says);
    CHECK_THROWS_AS(to_deepseek_form(model, deepseek_shape(target, 2)), ConfigError);
    CHECK_THROWS_WITH(to_deepseek_form(model, deepseek_shape(target, 2)), Contains(says) && Contains(target));
  };
  for (const std::string target : {"transformers", "vllm", "llama.cpp"}) {
    refused(tiny_decoder(), target, "no shared latent");
    refused(converted({.latent_norm = true, .rope_heads = 2}), target, "rope key per KV head");
  }
  for (const std::string target : {"vllm", "llama.cpp"}) {
    refused(converted({.biases = true, .latent_norm = true}), target, "biases");
    refused(converted({.latent_norm = true, .grid = false}), target, "no grid");
    refused(converted({}), target, "no norm");
  }
  refused(converted({.latent_norm = true, .rank = 600}), "vllm", "600");
  Decoder mixed = converted({});
  mixed.layers[1].attention = converted({.grid = false}).layers[1].attention;
  refused(mixed, "transformers", "rotary frequencies of layer 1");
  Decoder normed = converted({});
  std::get<MlaWeights>(normed.layers[1].attention).normed = NormedProjections{};
  refused(normed, "transformers", "q/k norm");
  const auto changed = [](const auto& change) {
    Decoder model = converted({});
    change(model, std::get<MlaWeights>(model.layers[1].attention));
    return model;
  };
  refused(changed([](Decoder&, MlaWeights& w) { w.limits.window = 9; }), "transformers", "sliding window of 9");
  refused(changed([](Decoder&, MlaWeights& w) { w.limits.softcap = 50; }), "transformers", "soft-capped at 50");
  refused(changed([](Decoder&, MlaWeights& w) { w.rope.inv_freq[0][1] = 0; }), "transformers", "do not turn");
  refused(changed([](Decoder&, MlaWeights& w) { w.rope.short_length = 8, w.rope.long_inv_freq = w.rope.inv_freq / 2; }), "transformers", "the sequence's length");
  refused(changed([](Decoder& model, MlaWeights&) { model.config.experts = 3, model.config.experts_per_token = 2; }), "transformers", "experts");
  refused(changed([](Decoder& model, MlaWeights&) { model.config.embedding_scale = 7; }), "transformers", "embedding_scale");
  refused(changed([](Decoder& model, MlaWeights&) { model.config.activation = Activation::gelu_tanh; }), "transformers", "gelu_pytorch_tanh");
  CHECK_THROWS_WITH(to_deepseek_form(converted({}), [] { DeepseekShape shape; shape.most_layers = 1; return shape; }()), Contains("at most 1 layers"));
  CHECK_THROWS_AS(deepseek_shape("onnx", 2), ConfigError);
}

namespace {

double kl_after(const Spoil& spoil) {
  const TemporaryFolder folder;
  const Decoder model = converted({.biases = true});
  save_deepseek(to_deepseek_form(model, deepseek_shape("transformers", 2)), "test", {}, {}, folder / "model");
  spoil_folder(folder / "model", folder / "spoilt", spoil);
  return kl_between(model, load_deepseek(folder / "spoilt", at::kCPU, at::kFloat));
}

}  // namespace

TEST_CASE("an interleave flag that is flipped, a bias that is dropped and a scale that is wrong are found by the logits", "[export][errors]") {
  CHECK(kl_after([](Json&, auto&) {}) < kKlOfEquals);
  const std::vector<std::pair<const char*, Spoil>> errors{
      {"interleave", [](Json& config, auto&) { config["rope_interleave"] = false; }},
      {"latent and rope key bias", [](Json&, auto& t) { each_named(t, "kv_a_proj_with_mqa.bias", [](at::Tensor& x) { x.zero_(); }); }},
      {"query bias", [](Json&, auto& t) { each_named(t, "q_a_proj.bias", [](at::Tensor& x) { x.zero_(); }); }},
      {"output bias", [](Json&, auto& t) { each_named(t, "o_proj.bias", [](at::Tensor& x) { x.zero_(); }); }},
      {"scale of the scores", [](Json&, auto& t) { each_named(t, "q_b_proj.weight", [](at::Tensor& x) { x *= 1.05; }); }},
      {"norm of the latent", [](Json&, auto& t) { each_named(t, "kv_a_layernorm.weight", [](at::Tensor& x) { x *= 1.05; }); }},
      {"theta", [](Json& config, auto&) { config["rope_theta"] = 9000.0; }},
      {"epsilon", [](Json& config, auto&) { config["rms_norm_eps"] = 1e-2; }},
  };
  for (const auto& [what, spoil] : errors) {
    INFO(what);
    CHECK(kl_after(spoil) > 10 * kKlOfEquals);
  }
}

TEST_CASE("a folder that does not fit its config is refused by name", "[export][errors]") {
  const auto refused = [](const std::string& says, const Spoil& spoil) {
    INFO(says);
    CHECK_THROWS_WITH(kl_after(spoil), Contains(says));
  };
  refused("Not asked for: model.layers.0.self_attn.q_proj.weight", [](Json&, auto& t) { t["model.layers.0.self_attn.q_proj.weight"] = at::ones({2}); });
  refused("Missing: lm_head.weight", [](Json&, auto& t) { t.erase("lm_head.weight"); });
  refused("kv_b_proj.weight", [](Json& config, auto&) { config["v_head_dim"] = 8; });
  refused("Not asked for: model.layers.0.self_attn.kv_a_proj_with_mqa.bias", [](Json& config, auto&) { config["attention_bias"] = false; });
  refused("rope_scaling", [](Json& config, auto&) { config["rope_scaling"] = {{"rope_type", "ntk"}, {"factor", 4.0}}; });
  refused("first_k_dense_replace", [](Json& config, auto&) { config["first_k_dense_replace"] = 1; });
  refused("hidden_act", [](Json& config, auto&) { config["hidden_act"] = "relu"; });
  refused("kv_lora_rank", [](Json& config, auto&) { config["kv_lora_rank"] = -1; });
}

namespace {

// What tests/oracle/export_logits.py has transformers load.
std::map<std::string, Decoder> oracle_models() {
  return {{"plain", converted({})}, {"biases", converted({.biases = true})}, {"query_latent", converted({.query_latent = true})},
          {"query_latent_biases", converted({.biases = true, .query_latent = true})}, {"longrope", converted({.grid = false})},
          {"longrope_biases", converted({.biases = true, .grid = false})}, {"latent_norm", converted({.latent_norm = true})}, {"two_ranks", with_two_ranks()}};
}

}  // namespace

TEST_CASE("the converted models' logits are those that transformers gives with their exports", "[export][golden]") {
  const Json json = read_json_file(golden("export_logits.json"));
  for (const auto& [name, model] : oracle_models()) {
    const at::Tensor last = logits_of(model).select(1, 18)[0], theirs = at::tensor(json["logits"][name].get<std::vector<double>>(), at::kDouble);
    INFO(name);
    CHECK(max_relative_error(last, theirs) < kOtherProgram);
  }
}

TEST_CASE("writes the exports that the oracle script loads, and the logits that they should give", "[.export-files]") {
  const fs::path out = environment("MLAFORGE_EXPORT_OUT");
  REQUIRE_FALSE(out.empty());
  const at::Tensor ids = tiny_ids(2, 19, 50);
  for (const auto& [name, model] : oracle_models()) {
    save_deepseek(to_deepseek_form(model, deepseek_shape("transformers", 2)), "hf-only", {}, {}, out / name);
    const at::Tensor logits = logits_of(model).contiguous();
    write_file_atomically(out / (name + ".f32"), {static_cast<const char*>(logits.const_data_ptr()), logits.nbytes()});
  }
  Json rows = Json::array();
  for (int64_t row = 0; row < 2; ++row) rows.push_back(std::vector<int64_t>(ids[row].const_data_ptr<int64_t>(), ids[row].const_data_ptr<int64_t>() + 19));
  write_file_atomically(out / "ids.json", rows.dump());
}

TEST_CASE("a grid of frequencies is known by its theta", "[export]") {
  CHECK(grid_theta(standard_inv_freq(100000.0, 64)) == 100000.0);
  CHECK(grid_theta(standard_inv_freq(10000.0, 64).slice(0, 0, 32, 2)) == 10000.0);  // every second one
  CHECK_FALSE(grid_theta(at::tensor({0.5, 0.25}, at::kDouble)));
  CHECK_FALSE(grid_theta(at::tensor({1.0, 0.5, 0.1}, at::kDouble)));
}
