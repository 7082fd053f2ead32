// Conversion of every family: nothing of its computation may be lost on the way, whatever the method.
#include <c10/core/InferenceMode.h>

#include "tests/support/catch.h"

#include "core/cuda/token_scores.h"
#include "tests/methods/recipe_lines.h"
#include "tests/support/family_models.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

// Families with keys and values of their own: what DeepSeek's classes hold is latent already.
std::vector<std::string> convertible() {
  std::vector<std::string> names;
  for (const std::string& name : family_names())
    if (!family_model(name).config.latent) names.push_back(name);
  return names;
}

CalibrationSamples samples_of(const Decoder& model) { return tiny_samples(2, 3, 24, model.config.vocab_size); }

at::Tensor decoded_logits(const Decoder& model, const at::Tensor& ids) {
  KvCache cache;
  std::vector<at::Tensor> hidden;
  for (int64_t t = 0; t < ids.size(1); ++t) hidden.push_back(model.last_hidden(ids.narrow(1, t, 1), &cache));
  return model.logits(at::cat(hidden, 1));
}

// Why a recipe cannot convert a family, in its own words; empty where it can.
std::string reason(const Line& line, const ModelConfig& config) {
  try {
    make(line, config, line.step);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

struct Case {
  const char* method;
  Json options;
};
// Nothing is dropped and every pair keeps its RoPE, on models with G = 2 and h = 8.
const std::vector<Case> kWhole{{"svd", {{"rank", 16}}},
                               {"svd", {{"form", "latent"}, {"split", "high"}, {"rope_dim", 8}, {"kv_lora_rank", 16}}},
                               {"svd_llm", {{"rank", 16}}},
                               {"care", {{"rank", 16}}},
                               {"transmla_converter", Json::object()},
                               {"mla_retrofit", Json::object()},
                               {"mla_retrofit", {{"rope_mode", "extend"}}},
                               {"palu", {{"group_size", 2}, {"group_rank", 16}, {"hadamard", true}}},
                               {"kq_svd", {{"group_rank", 8}}},
                               {"mha2mla", {{"rope_selection", "high"}, {"rope_dim", 8}, {"svd", "joint"}, {"low_rank", 8}}},
                               {"elitekv", {{"rope_dim", 8}, {"kv_dim", 16}}}};

}  // namespace

TEST_CASE("with nothing dropped every recipe gives every family's own logits, at once and token after token", "[families][recipes][identity]") {
  const std::string name = GENERATE(from_range(convertible()));
  const Decoder original = family_model(name);
  const CalibrationSamples samples = samples_of(original);
  const at::Tensor ids = tiny_ids(1, 58, original.config.vocab_size, 77), wanted = original.logits(original.last_hidden(ids));
  for (const Case& each : kWhole) {
    INFO(name << ", " << each.method << ' ' << each.options);
    const Decoder converted = convert_with(original, find_recipe(each.method).make(each.options, original.config), samples).converted;
    CHECK(std::abs(mean_kl(wanted, converted.logits(converted.last_hidden(ids)))) < kKlOfEquals);
    if (original.config.rope.kind == RopeKind::dynamic || original.config.rope.kind == RopeKind::longrope) continue;  // a cache keeps the keys of shorter lengths
    CHECK(std::abs(mean_kl(wanted, decoded_logits(converted, ids))) < kKlOfEquals);
  }
}

TEST_CASE("every recipe at full rank equals its partial-RoPE model on every family, or says why it cannot convert it", "[families][recipes][identity]") {
  const std::string name = GENERATE(from_range(convertible()));
  const Decoder original = family_model(name);
  for (const Line& line : kLines) {
    INFO(name << ", " << line);
    if (const std::string refused = reason(line, original.config); !refused.empty()) {
      CHECK(name == "phi3");
      CHECK_THAT(refused, Catch::Contains("frequencies are given for that width alone"));
      continue;
    }
    if (!line.exact) continue;
    CHECK(full_rank_kl(line, original, samples_of(original), tiny_ids(1, 50, original.config.vocab_size, 77)) < kKlOfEquals);
  }
}

TEST_CASE("the absorbed and the expanded form of a converted family agree", "[families][recipes][identity]") {
  const std::string name = GENERATE(as<std::string>{}, "gemma2", "mistral", "mixtral", "phi3", "qwen3");
  INFO(name);
  const Decoder original = family_model(name);
  const Json options{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}};
  const Decoder converted = convert_with(original, find_recipe("transmla").make(options, original.config), samples_of(original)).converted;
  const at::Tensor ids = tiny_ids(2, 33, original.config.vocab_size);

  const at::Tensor absorbed = converted.last_hidden(ids, nullptr, MlaPath::absorbed);

  CHECK(max_relative_error(absorbed, converted.last_hidden(ids, nullptr, MlaPath::expanded)) < kFp32Reordering);
}

TEST_CASE("a converted family reads back from its folder bit for bit", "[families][recipes][io]") {
  const std::string name = GENERATE(as<std::string>{}, "gemma2", "mixtral", "phi3", "llama_dynamic", "llama_biases", "qwen3");
  INFO(name);
  const TemporaryFolder folder;
  const Decoder original = family_model(name);
  for (const char* method : {"transmla", "svd"}) {
    const Json options = std::string(method) == "svd" ? Json{{"rank", 7}} : Json{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 9}};
    const Decoder converted = convert_with(original, find_recipe(method).make(options, original.config), samples_of(original)).converted;
    save_decoder(converted, "{}", {{"method", method}}, folder / method);
    const Decoder read = load_decoder(*Checkpoint::open(folder / method), at::kCPU, at::kFloat);
    const at::Tensor ids = tiny_ids(1, 58, original.config.vocab_size);
    CHECK(at::equal(read.logits(read.last_hidden(ids)), converted.logits(converted.last_hidden(ids))));
  }
}

TEST_CASE("healing brings a cut family nearer to its original, post-norms and experts included", "[families][healers]") {
  const std::string name = GENERATE(as<std::string>{}, "gemma2", "mixtral", "qwen2", "llama_biases");
  INFO(name);
  const Decoder original = family_model(name);
  const CalibrationSamples samples = tiny_samples(6, 4, 24, original.config.vocab_size);
  const auto kl_with = [&](int64_t steps, double ridge, double mlp_ridge = 0) {
    const Json options{{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 8}, {"steps", steps}, {"ridge", ridge}, {"mlp_ridge", mlp_ridge}};
    const Conversion conversion = convert_with(original, find_recipe("stream_match").make(options, original.config), samples);
    return kl(original, conversion.converted, samples.batches[0].ids);
  };

  const double cut = kl_with(0, 0), refitted = kl_with(0, 0.1), distilled = kl_with(40, 0.1);

  CHECK(refitted < cut);
  CHECK(distilled < cut);
  if (original.layers[0].experts) CHECK(kl_with(0, 0.1, 0.1) == refitted);  // experts stay as they are
  else CHECK(kl_with(0, 0.1, 0.1) < refitted);
}

TEST_CASE("gradient moments of a family equal numeric derivatives of its loss", "[families][gradients]") {
  const std::string name = GENERATE(as<std::string>{}, "gemma2", "mixtral", "phi3");
  INFO(name);
  // Of a sample of two tokens only the first predicts, so its value's gradient is the derivative by a bias of all values.
  Decoder model = family_model(name);
  CalibrationSamples samples;
  samples.batches.push_back({at::tensor({3, 17}, at::kLong).view({1, 2}), at::ones({1, 2}, at::kBool)});
  const at::Tensor found = collect_gradients(model, samples)[0].value;

  auto& layer = std::get<GqaWeights>(model.layers[0].attention);
  const auto loss = [&] {
    const at::Tensor hidden = model.last_hidden(samples.batches[0].ids)[0].narrow(0, 0, 1);
    return reference::token_scores({{hidden, model.head, model.config.logit_softcap}}, at::tensor({17}, at::kLong)).nll_nats.item<double>();
  };
  constexpr double kStep = 3e-3;
  at::Tensor numeric = at::zeros({layer.v.size(0)}, at::kDouble);
  for (int64_t i = 0; i < layer.v.size(0); ++i) {
    double side[2];
    for (const int s : {0, 1}) {
      layer.v_bias = at::zeros({layer.v.size(0)});
      layer.v_bias[i] = s == 0 ? kStep : -kStep;
      side[s] = loss();
    }
    numeric[i] = (side[0] - side[1]) / (2 * kStep);
  }

  CHECK(max_relative_error(found, numeric.outer(numeric) / 2) < 2e-2);  // differences of fp32 sums
}

TEST_CASE("a family that is latent already is not converted again, and the error says so", "[families][errors]") {
  const std::string name = GENERATE(as<std::string>{}, "deepseek_v2", "deepseek_v3");
  const Decoder original = family_model(name);
  CHECK_THROWS_WITH(convert_with(original, find_recipe("svd").make({{"rank", 2}}, original.config), samples_of(original)),
                    Catch::Contains("latent attention already"));
}

TEST_CASE("token scores see a model's soft-capped logits", "[families][scores]") {
  const Decoder model = family_model("gemma2");
  const at::Tensor ids = tiny_ids(1, 30, model.config.vocab_size), hidden = model.last_hidden(ids)[0].narrow(0, 0, 29), targets = ids[0].narrow(0, 1, 29);
  const at::Tensor wanted = -at::log_softmax(model.logits(hidden).to(at::kDouble), -1).gather(1, targets.unsqueeze(1)).squeeze(1);

  const std::vector<StageHidden> stages{{hidden, model.head, model.config.logit_softcap}, {hidden, model.head}};
  const TokenScores scores = token_scores(stages, targets);

  CHECK(max_relative_error(scores.nll_nats[0], wanted) < kFp32Reordering);
  CHECK(scores.kld_nats[1].min().item<double>() > 1e-6);  // an uncapped head is another distribution
  CHECK(max_relative_error(scores.kld_nats[1], reference::token_scores(stages, targets).kld_nats[1]) < 1e-3);
}
