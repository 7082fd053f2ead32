#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "experiments/commands.h"
#include "experiments/data_root.h"
#include "experiments/model_plan.h"
#include "experiments/session.h"

namespace mla {
namespace {

struct InspectFlags {
  ModelFlags model;
  MethodFlags method;
  std::vector<int64_t> contexts{4096, 32768, 131072, 524288};
  std::string format = "text";
};

constexpr const char* kFormats[] = {"bf16", "int8", "int4"};

bool has_windows(const ModelCount& count) {
  return std::any_of(count.layers.begin(), count.layers.end(), [](const LayerStreams& layer) { return layer.window > 0; });
}

Json describe(const ModelCount& count, const InspectFlags& flags) {
  const at::ScalarType dtype = parse_dtype(flags.model.dtype);
  int64_t values = 0;
  for (const LayerStreams& layer : count.layers) values += layer.values();
  Json cache = Json::array();
  for (const int64_t context : flags.contexts) {
    Json row{{"context", context}, {"cache_bytes", cache_bytes(count.layers, {}, dtype, context)}};
    for (const char* name : kFormats) {
      row[name] = cache_bytes(count.layers, parse_cache_format(name), at::kBFloat16, context);
      if (has_windows(count)) row["within_windows"][name] = cache_bytes(count.layers, parse_cache_format(name), at::kBFloat16, context, true);
    }
    cache.push_back(row);
  }
  const auto layers = static_cast<int64_t>(count.layers.size());
  return {{"attention", count.attention}, {"parameters", count.parameters}, {"kv_values_per_token", values},
          {"kv_bytes_per_token", 2 * values},  // at bf16
          {"kv_values_per_token_per_layer", values % layers == 0 ? Json(values / layers) : Json(static_cast<double>(values) / static_cast<double>(layers))},
          {"cache", cache}};
}

void print_row(const char* title, const Json& row, const Json& bytes) {
  std::printf("    %9lld tokens%s", static_cast<long long>(row.at("context").get<int64_t>()), title);
  for (const char* name : kFormats) std::printf("  %10.1f", bytes.at(name).get<double>() / (1024.0 * 1024.0));
  std::printf("\n");
}

void print_form(const char* title, const Json& form, int64_t layers) {
  std::printf("%s\n  parameters        %lld\n", title, static_cast<long long>(form.at("parameters").get<int64_t>()));
  std::printf("  attention (the first of %lld layers)\n", static_cast<long long>(layers));
  for (const auto& [name, shape] : form.at("attention").items()) std::printf("    %-24s %s\n", name.c_str(), shape.dump().c_str());
  std::printf("  KV cache          %s values per token and layer, %lld bytes per token in bf16\n", form.at("kv_values_per_token_per_layer").dump().c_str(),
              static_cast<long long>(form.at("kv_bytes_per_token").get<int64_t>()));
  std::printf("    MiB             ");
  for (const char* name : kFormats) std::printf("  %10s", name);
  std::printf("\n");
  for (const Json& row : form.at("cache")) print_row("", row, row);
  if (!form.at("cache").empty() && form.at("cache")[0].contains("within_windows")) {
    std::printf("    with no more tokens in layers with a sliding window than it shows:\n");
    for (const Json& row : form.at("cache")) print_row("", row, row.at("within_windows"));
  }
}

std::string recommended_method() {
  for (const RecipeEntry* entry : recipes())
    if (entry->recommended) return entry->name;
  fail<UsageError>("inspect", "wanted --method beside the options of a conversion, got none");
}

void inspect(InspectFlags flags) {
  if (flags.method.method.empty() && !flags.method.given.empty()) flags.method.method = recommended_method();
  const std::filesystem::path path = find_model(flags.model.model);
  const std::shared_ptr<Checkpoint> checkpoint = Checkpoint::open(path);
  const ModelConfig& config = checkpoint->config();
  const at::ScalarType dtype = parse_dtype(flags.model.dtype);
  const Json conversion = conversion_of(path);
  const std::string name = display_name(path);
  Json result{{"model", name}, {"family", config.architecture}, {"dtype", dtype_name(dtype)}, {"config", config_to_hf(config)}, {"layers", config.num_layers}};
  result["original"] = describe(count_model(*checkpoint, dtype), flags);
  if (!conversion.is_null()) result["conversion"] = conversion;
  if (!flags.method.method.empty()) {
    Recipe recipe = find_recipe(flags.method.method).make(method_options(flags.method), config);
    const std::string label = recipe.label;
    result["planned"] = describe(count_conversion(*checkpoint, std::move(recipe), dtype), flags);
    result["planned"]["label"] = label;
  }
  if (flags.format == "json") {
    std::cout << result.dump(2) << '\n';
    return;
  }
  std::printf("%s: %s, %lld layers, hidden %lld, heads %lld, KV heads %lld, head_dim %lld, vocabulary %lld, %s\n", name.c_str(),
              config.architecture.c_str(), static_cast<long long>(config.num_layers), static_cast<long long>(config.hidden_size),
              static_cast<long long>(config.num_heads), static_cast<long long>(config.num_kv_heads),
              static_cast<long long>(config.head_dim), static_cast<long long>(config.vocab_size), dtype_name(dtype));
  print_form(conversion.is_null() ? "As it is" : "As it was converted", result["original"], config.num_layers);
  if (result.contains("planned")) print_form(("Planned: " + result["planned"]["label"].get<std::string>()).c_str(), result["planned"], config.num_layers);
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand("inspect", "Shapes, parameters and cache bytes of a model of any family and of a planned conversion");
  add_model_flags(*command, flags->model);
  add_method_flags(*command, flags->method, false);
  command->add_option("--context", flags->contexts, "Context lengths to count the cache at, by commas [4096,32768,131072,524288]")
      ->delimiter(',')->check(CLI::PositiveNumber);
  add_format_flag(*command, flags->format, {"text", "json"});
  add_examples(*command,
               "  mlaforge inspect --model model.gguf\n"
               "  mlaforge inspect --model model.gguf --cache-values 256\n"
               "  mlaforge inspect --model gemma-2-9b --method transmla --freqfold 4 --kv-lora-rank 256 --qk-mqa-dim 64 --context 4096,131072\n");
  command->callback([flags] { inspect(*flags); });
}

}  // namespace mla
