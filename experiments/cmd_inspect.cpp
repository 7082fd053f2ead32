#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "experiments/commands.h"
#include "experiments/pipeline.h"

namespace mla {
namespace {

struct InspectFlags {
  ModelFlags model;
  MethodFlags method;
  std::vector<int64_t> contexts{4096, 32768, 131072};
  std::string format = "text";
};

// {"q_proj.weight": [576, 576], ...}
Json form_of(const AttentionWeights& weights) {
  Json tensors = Json::object();
  for (const auto& [name, tensor] : named_tensors(weights)) tensors[name] = tensor.sizes().vec();
  return tensors;
}

// `layers` layers like the decoder's first; its own layers may be fewer.
Json describe(const Decoder& decoder, int64_t layers, int64_t parameters, const InspectFlags& flags) {
  const int64_t values = cache_values_per_token(decoder.layers.front().attention);
  const auto bytes = static_cast<int64_t>(decoder.embedding.element_size());
  Json cache = Json::array();
  for (const int64_t context : flags.contexts) cache.push_back({{"context", context}, {"cache_bytes", values * layers * bytes * context}});
  return {{"attention", form_of(decoder.layers.front().attention)}, {"parameters", parameters},
          {"kv_values_per_token_per_layer", values}, {"cache", cache}};
}

// Shapes do not depend on what was measured: one layer is converted with unit statistics in place of a calibration.
Json describe_plan(const LoadedModel& model, const InspectFlags& flags) {
  Recipe recipe = find_recipe(flags.method.method).make(method_options(flags.method), model.decoder.config);
  recipe.healers.clear();  // they change values, never shapes; nor does what a search chooses
  recipe.search = nullptr;
  Decoder first = model.decoder;
  first.layers.resize(1);
  const auto unit_stats = [&](const Decoder&, const StatKinds&, const std::string&) {
    const auto& c = model.decoder.config;
    const int64_t keys = c.num_kv_heads * c.head_dim, projections = c.num_heads * c.head_dim + 2 * keys, tokens = 8;
    const auto eye = [](int64_t size) { return at::eye(size, at::kDouble); };
    LayerStats stats;
    stats.input = {1, at::zeros({c.hidden_size}, at::kDouble), eye(c.hidden_size)};
    stats.projections = {1, at::zeros({projections}, at::kDouble), eye(projections)};
    stats.attended = std::get<GqaWeights>(first.layers[0].attention).norm ? stats.projections : stats.input;
    stats.pairs = {at::ones({c.num_heads, c.head_dim / 2}, at::kDouble), at::ones({c.num_kv_heads, c.head_dim / 2}, at::kDouble)};
    stats.gradients = {1, eye(keys), eye(keys), eye(c.hidden_size), at::ones({c.num_kv_heads}, at::kDouble), at::ones({c.num_kv_heads}, at::kDouble)};
    stats.rows = {at::ones({1, tokens, c.num_heads, c.head_dim}), at::ones({1, tokens, c.num_kv_heads, c.head_dim})};
    stats.latents = {at::ones({2}, at::kDouble), at::ones({2}, at::kDouble)};
    return CalibrationStats{stats};
  };
  const Conversion conversion = convert(first, recipe, unit_stats);
  const auto layers = static_cast<int64_t>(model.decoder.layers.size());
  const int64_t parameters = model.decoder.parameters() + layers * (conversion.converted.parameters() - first.parameters());
  Json plan = describe(conversion.converted, layers, parameters, flags);
  plan["label"] = recipe.label;
  return plan;
}

void print_form(const char* title, const Json& form, int64_t layers) {
  std::printf("%s\n  parameters        %lld\n", title, static_cast<long long>(form.at("parameters").get<int64_t>()));
  std::printf("  attention (each of %lld layers)\n", static_cast<long long>(layers));
  for (const auto& [name, shape] : form.at("attention").items()) std::printf("    %-24s %s\n", name.c_str(), shape.dump().c_str());
  std::printf("  KV cache          %lld values per token and layer\n",
              static_cast<long long>(form.at("kv_values_per_token_per_layer").get<int64_t>()));
  for (const Json& row : form.at("cache"))
    std::printf("    %9lld tokens  %10.1f MiB\n", static_cast<long long>(row.at("context").get<int64_t>()),
                row.at("cache_bytes").get<double>() / (1024.0 * 1024.0));
}

void inspect(const InspectFlags& flags) {
  if (flags.method.method.empty() && !flags.method.given.empty())
    fail<UsageError>("inspect", "wanted --method beside the options of a conversion, got none");
  const LoadedModel model = load_model(flags.model);
  const ModelConfig& config = model.decoder.config;
  const auto layers = static_cast<int64_t>(model.decoder.layers.size());
  Json result{{"model", model.name}, {"dtype", model.dtype}, {"config", config_to_hf(config)}, {"layers", layers}};
  result["original"] = describe(model.decoder, layers, model.decoder.parameters(), flags);
  if (!model.conversion.is_null()) result["conversion"] = model.conversion;
  if (!flags.method.method.empty()) result["planned"] = describe_plan(model, flags);
  if (flags.format == "json") {
    std::cout << result.dump(2) << '\n';
    return;
  }
  std::printf("%s: %s, %lld layers, hidden %lld, heads %lld, KV heads %lld, head_dim %lld, vocabulary %lld, %s\n", model.name.c_str(),
              config.architecture.c_str(), static_cast<long long>(layers), static_cast<long long>(config.hidden_size),
              static_cast<long long>(config.num_heads), static_cast<long long>(config.num_kv_heads),
              static_cast<long long>(config.head_dim), static_cast<long long>(config.vocab_size), model.dtype);
  print_form(model.conversion.is_null() ? "As it is" : "As it was converted", result["original"], layers);
  if (result.contains("planned")) print_form(("Planned: " + result["planned"]["label"].get<std::string>()).c_str(), result["planned"], layers);
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand("inspect", "Shapes, parameters and cache bytes of a model and of a planned conversion");
  add_model_flags(*command, flags->model);
  add_method_flags(*command, flags->method, false);
  command->add_option("--context", flags->contexts, "Context lengths to count the cache at, by commas [4096,32768,131072]")
      ->delimiter(',')->check(CLI::PositiveNumber);
  add_format_flag(*command, flags->format, {"text", "json"});
  add_examples(*command,
               "  mlaforge inspect --model model.gguf --dtype bf16 --context 4096,131072\n"
               "  mlaforge inspect --model model.gguf --method transmla --freqfold 4 --kv-lora-rank 256\n");
  command->callback([flags] { inspect(*flags); });
}

}  // namespace mla
