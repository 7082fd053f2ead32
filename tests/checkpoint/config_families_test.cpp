// Configurations and tensor sets of families: what is refused, and how it is said.
#include "tests/support/catch.h"

#include "core/checkpoint/expected_tensors.h"
#include "core/checkpoint/families.h"
#include "core/model/rope_plan.h"
#include "tests/checkpoint/sample_files.h"
#include "tests/support/family_models.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;
using Catch::Contains;

namespace {

ModelConfig read(const std::string& golden, const Json& changes = Json::object()) {
  Json config = family_golden(golden)["config"];
  config.update(changes);
  return config_from_hf(config, "config.json");
}
std::string refused(const std::string& golden, const Json& changes) {
  return refusal([&] { read(golden, changes); });
}

// A folder with a family's tensors, some of which a test changes.
std::string tensors_refused(const std::string& name, const Json& config_changes, const std::function<void(std::vector<std::pair<std::string, at::Tensor>>&)>& change) {
  const TemporaryFolder folder;
  write_family(name, folder / "model");
  Json config = family_golden(name)["config"];
  config.update(config_changes);
  write_bytes(folder / "model/config.json", config.dump());
  auto tensors = family_tensors(name);
  change(tensors);
  write_safetensors(tensors, folder / "model/model.safetensors");
  return refusal([&] { load_decoder(*Checkpoint::open(folder / "model"), at::kCPU, at::kFloat); });
}

}  // namespace

TEST_CASE("a model_type that is no family is refused, and the nearest one is suggested", "[families][errors]") {
  CHECK_THAT(refused("llama", {{"model_type", "llama4"}}), Contains("model_type 'llama4' is not supported") && Contains("did you mean 'llama'"));
  CHECK_THAT(refused("llama", {{"model_type", "mamba"}}), Contains("known: ") && Contains("deepseek_v3"));
}

TEST_CASE("a field that may change the computation is refused by name unless it says nothing", "[families][errors]") {
  const std::string name = GENERATE(from_range(family_names()));
  INFO(name);
  CHECK(refused(name, Json::object()).empty());
  CHECK_THAT(refused(name, {{"attention_multiplier", 0.5}}), Contains("attention_multiplier = 0.5"));
  CHECK_THAT(refused(name, {{"quantization_config", {{"bits", 4}}}}), Contains("quantization_config"));
  CHECK_THAT(refused(name, {{"alibi", true}}), Contains("alibi"));
  for (const Json& nothing : Json::array({nullptr, false})) CHECK(refused(name, {{"alibi", nothing}}).empty());
  for (const char* neutral : {"_name_or_path", "transformers_version", "torch_dtype", "attention_dropout"}) CHECK(refused(name, {{neutral, "x"}}).empty());
}

TEST_CASE("values that a family does not have are refused by field", "[families][errors]") {
  struct Case {
    const char* golden;
    Json changes;
    const char* wanted;
  };
  for (const Case& c : std::vector<Case>{
           {"mistral", {{"attention_bias", true}}, "attention_bias"},
           {"mistral", {{"sliding_window", 0}}, "sliding_window of at least 1"},
           {"qwen2", {{"layer_types", {"full_attention"}}}, "layer_types for 3 layers, got 1"},
           {"qwen2", {{"layer_types", {"full_attention", "chunked_attention", "full_attention"}}}, "chunked_attention"},
           {"gemma", {{"use_bidirectional_attention", true}}, "use_bidirectional_attention"},
           {"gemma2", {{"final_logit_softcapping", -1}}, "final_logit_softcapping"},
           {"gemma2", {{"query_pre_attn_scalar", 0}}, "query_pre_attn_scalar"},
           {"gemma2", {{"hidden_activation", "relu"}}, "hidden_activation to be silu, gelu or gelu_pytorch_tanh, got 'relu'"},
           {"mixtral", {{"num_experts_per_tok", 6}}, "num_experts_per_tok in [1, 5], got 6"},
           {"mixtral", {{"num_local_experts", 1000000}}, "num_local_experts"},
           {"llama", {{"partial_rotary_factor", 0.5}}, "partial_rotary_factor of 1"},
           {"phi3", {{"partial_rotary_factor", 0.5}, {"rope_parameters", nullptr}, {"rope_scaling", {{"type", "longrope"}, {"short_factor", {1, 1, 1}}, {"long_factor", {1, 1, 1}}}}},
            "short_factor and long_factor of 2 numbers each, got 3"},
           {"llama", {{"rope_parameters", {{"rope_type", "mrope"}, {"rope_theta", 10000.0}}}}, "rope_type 'mrope'"},
           {"llama", {{"rope_parameters", {{"rope_type", "linear"}, {"rope_theta", 10000.0}}}}, "rope_parameters: field factor is missing"},
           {"llama", {{"rope_parameters", {{"rope_type", "linear"}, {"factor", -2}}}}, "factor in (0, 1e6)"},
           {"llama", {{"rope_parameters", {{"rope_type", "linear"}, {"factor", 2}, {"mrope_section", {1, 2}}}}}, "mrope_section"},
           {"llama", {{"rope_parameters", {{"rope_type", "llama3"}, {"factor", 2}, {"low_freq_factor", 4}, {"high_freq_factor", 1}}}}, "low_freq_factor < high_freq_factor"},
           {"phi3", {{"full_attn_mod", 2}}, "full_attn_mod of 1, got 2"},
           {"gemma2", {{"sliding_window_size", 12}}, "sliding_window_size of 11, got 12"},
           {"mimo", {{"attention_bias", false}}, "attention_bias true of a mimo"},
           {"deepseek_v3", {{"first_k_dense_replace", 1}}, "layers of experts are not supported"},
           {"deepseek_v2", {{"num_key_value_heads", 2}}, "num_key_value_heads = num_attention_heads"},
           {"deepseek_v2", {{"qk_rope_head_dim", 3}}, "even"}}) {
    INFO(c.golden << ' ' << c.changes);
    CHECK_THAT(refused(c.golden, c.changes), Contains(c.wanted));
  }
}

TEST_CASE("defaults are transformers' own where config.json is silent", "[families]") {
  const auto without = [](const char* golden, std::vector<const char*> fields) {
    Json config = family_golden(golden)["config"];
    for (const char* field : fields) config.erase(field);
    return config_from_hf(config, "config.json");
  };
  CHECK(without("mistral", {"sliding_window"}).windows == std::vector<int64_t>{4096, 4096, 4096});
  CHECK(without("mistral", {"rope_parameters"}).rope_theta == 10000.0);
  CHECK(without("mixtral", {"rope_parameters"}).rope_theta == 1e6);
  CHECK(without("mixtral", {"rms_norm_eps"}).rms_norm_eps == 1e-5);
  CHECK(without("gemma", {"tie_word_embeddings"}).tie_word_embeddings);
  CHECK_FALSE(without("llama_biases", {"tie_word_embeddings"}).tie_word_embeddings);
  CHECK(without("gemma2", {"attn_logit_softcapping", "final_logit_softcapping"}).attention_softcap == 50.0);
  CHECK(without("gemma2", {"layer_types"}).windows == std::vector<int64_t>{11, 0, 11});
  CHECK(read("gemma2", {{"attn_logit_softcapping", nullptr}}).attention_softcap == 0);
  CHECK(read("mistral", {{"sliding_window", nullptr}}).windows.empty());
  CHECK(read("gemma", {{"hidden_act", "gelu"}}).activation == Activation::gelu_tanh);
  CHECK(read("llama", {{"hidden_act", "gelu"}}).activation == Activation::gelu);
}

TEST_CASE("both spellings of rope scaling give the same frequencies", "[families][rope]") {
  struct Case {
    const char* golden;
    Json scaling;
  };
  for (const Case& c : std::vector<Case>{{"llama_linear", {{"rope_type", "linear"}, {"factor", 3.0}}},
                                         {"llama_yarn", {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32}}},
                                         {"llama_dynamic", {{"type", "dynamic"}, {"factor", 2.0}}},
                                         {"llama_biases", {{"rope_type", "llama3"}, {"factor", 4.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0},
                                                           {"original_max_position_embeddings", 32}}}}) {
    INFO(c.golden);
    const ModelConfig one = read(c.golden);
    const ModelConfig other = read(c.golden, {{"rope_parameters", nullptr}, {"rope_scaling", c.scaling}, {"rope_theta", one.rope_theta}});
    const RopePlan a = rope_plan(one, one.head_dim), b = rope_plan(other, other.head_dim);
    for (const int64_t length : {10, 48, 60}) CHECK(at::equal(a.frequencies(length), b.frequencies(length)));
    CHECK(a.attention_factor == b.attention_factor);
  }
}

TEST_CASE("missing and extra tensors are both listed before anything is loaded", "[families][errors]") {
  const std::string said = tensors_refused("qwen3", Json::object(), [](auto& tensors) {
    std::erase_if(tensors, [](const auto& t) { return t.first.find("layers.1.self_attn.q_norm") != std::string::npos; });
    tensors.emplace_back("model.layers.0.self_attn.sinks", at::ones({6}));
    tensors.emplace_back("model.extra.weight", at::ones({2}));
  });
  CHECK_THAT(said, Contains("Missing: model.layers.1.self_attn.q_norm.weight") && Contains("Not asked for: model.extra.weight, model.layers.0.self_attn.sinks"));
  CHECK_THAT(tensors_refused("llama", {{"num_hidden_layers", 9}}, [](auto&) {}), Contains("model.layers.3.input_layernorm.weight") && Contains("and 44 more"));
  CHECK_THAT(tensors_refused("llama", {{"num_hidden_layers", 2}}, [](auto&) {}), Contains("Missing: none. Not asked for: model.layers.2.input_layernorm.weight"));
}

TEST_CASE("a tensor of a wrong shape is named with the wanted and the found one", "[families][errors]") {
  CHECK_THAT(tensors_refused("llama", Json::object(), [](auto& tensors) {
    for (auto& [name, t] : tensors)
      if (name == "model.layers.1.mlp.up_proj.weight") t = t.t();
  }), Contains("wanted tensor model.layers.1.mlp.up_proj.weight of shape [38, 42], got [42, 38]"));
  CHECK_THAT(tensors_refused("phi3", {{"num_key_value_heads", 3}}, [](auto&) {}), Contains("self_attn.qkv_proj.weight of shape [96, 48], got [80, 48]"));
  // A configuration of a model far larger than the file asks for no memory: the first tensor that contradicts it is named.
  CHECK_THAT(tensors_refused("llama", {{"vocab_size", 2000000}, {"hidden_size", 60000}}, [](auto&) {}), Contains("model.embed_tokens.weight of shape [2000000, 60000], got [61, 42]"));
}

TEST_CASE("tensors that take no part are left out by name, others of their kind are not", "[families][errors]") {
  const auto with = [](const char* name) {
    return [name](std::vector<std::pair<std::string, at::Tensor>>& tensors) { tensors.emplace_back(name, at::ones({3})); };
  };
  CHECK(tensors_refused("mimo", Json::object(), with("model.mtp_layers.1.anything")).empty());
  CHECK_THAT(tensors_refused("qwen2", Json::object(), with("model.mtp_layers.1.anything")), Contains("Not asked for: model.mtp_layers.1.anything"));
  CHECK(tensors_refused("llama", Json::object(), with("model.layers.0.self_attn.rotary_emb.inv_freq")).empty());
  CHECK(tensors_refused("deepseek_v3", Json::object(), with("model.layers.3.eh_proj.weight")).empty());
  CHECK_THAT(tensors_refused("deepseek_v3", Json::object(), with("model.layers.2.eh_proj.weight")), Contains("model.layers.2.eh_proj.weight"));
}

TEST_CASE("expected tensors are exactly those that transformers wrote", "[families][golden]") {
  const std::string name = GENERATE(from_range(family_names()));
  INFO(name);
  std::map<std::string, std::vector<int64_t>> wanted = family_golden(name)["tensors"], ours;
  std::erase_if(wanted, [](const auto& each) { return each.first.find("mtp_layers") != std::string::npos; });
  for (const ExpectedTensor& each : expected_tensors(read(name))) ours[each.name] = each.shape;
  CHECK(ours == wanted);
}
