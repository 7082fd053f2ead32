#include "experiments/bench/sides.h"

#include <ATen/Parallel.h>

#include <map>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/progress.h"
#include "eval/throughput.h"
#include "experiments/bench/shapes.h"
#include "experiments/data_root.h"
#include "experiments/model_plan.h"
#include "experiments/model_record.h"
#include "experiments/program.h"

namespace mla {
namespace {

void check_sides(const SideFlags& flags) {
  if (flags.models.empty() && flags.shapes.empty()) fail<UsageError>("bench", "wanted --model or --shape, got neither");
  if (!flags.models.empty() && !flags.shapes.empty()) fail<UsageError>("bench", "wanted either --model or --shape, got both");
  if (flags.shapes.empty() && (!flags.latent.empty() || flags.layers > 0)) fail<UsageError>("bench", "wanted --shape beside --mla and --layers, got --model");
  if (flags.method.method.empty() && !flags.method.given.empty()) fail<UsageError>("bench", "wanted --method beside ", flag_of(flags.method.given.begin()->first), ", got none");
  if (!flags.method.method.empty() && flags.models.size() != 1) fail<UsageError>("bench", "wanted one --model beside --method, got ", flags.models.size());
}

int64_t bytes_of(at::ScalarType dtype) { return static_cast<int64_t>(c10::elementSize(dtype)); }

// Bytes that a cache object counts, each length once.
std::function<int64_t(int64_t)> counted_cache(std::vector<LayerStreams> streams, const CacheFormat& format, at::ScalarType dtype) {
  auto known = std::make_shared<std::map<int64_t, int64_t>>();
  return [=, streams = std::move(streams)](int64_t tokens) {
    const auto [at, fresh] = known->try_emplace(tokens, 0);
    if (fresh) at->second = cache_bytes(streams, format, dtype, tokens);
    return at->second;
  };
}

MemoryNeeds needs_of(const ModelConfig& c, int64_t parameters, const std::vector<LayerStreams>& streams, const CacheFormat& format, at::ScalarType dtype) {
  const int64_t value = bytes_of(dtype);
  // The residual stream, its norm and what attention and MLP add; queries and mixed values; gate, up and their product.
  const int64_t activations = value * (4 * c.hidden_size + 2 * c.num_heads * c.head_dim + 3 * c.intermediate_size);
  return {.weights = parameters * value, .activations_per_token = activations, .logits_per_sequence = c.vocab_size * (value + 4),
          .layers = static_cast<int64_t>(streams.size()), .cache = counted_cache(streams, format, dtype)};
}

// What all kinds of sides have in common, from their sizes.
BenchSide make_side(const SideFlags& flags, const ModelConfig& config, int64_t parameters, const std::vector<LayerStreams>& streams, at::Device device) {
  const at::ScalarType dtype = parse_dtype(flags.dtype);
  const CacheFormat format = cache_format(flags.cache, dtype);
  BenchSide side;
  side.model = {.architecture = config.architecture, .dtype = dtype_name(dtype), .device = device.is_cuda() ? "cuda" : "cpu", .cache = cache_format_name(format),
                .parameters = parameters, .weight_bytes = parameters * bytes_of(dtype)};
  double values = 0;
  for (const LayerStreams& layer : streams) values += static_cast<double>(layer.values());
  side.model.kv_values = values / static_cast<double>(streams.size());
  side.needs = needs_of(config, parameters, streams, format, dtype);
  return side;
}

BenchSide loaded_side(const SideFlags& flags, Decoder decoder, const std::string& model, const std::string& label) {
  std::vector<LayerStreams> streams;
  for (const DecoderLayer& layer : decoder.layers) streams.push_back(streams_of(layer.attention));
  BenchSide side = make_side(flags, decoder.config, decoder.parameters(), streams, decoder.device());
  side.model.model = model;
  side.model.label = label;
  side.decoder = std::move(decoder);
  return side;
}

ModelFlags model_flags(const SideFlags& flags, const std::string& model) { return {model, flags.data_root, flags.dtype, flags.device, flags.threads}; }

std::vector<BenchSide> load_models(const SideFlags& flags) {
  std::vector<BenchSide> sides;
  for (const std::string& path : flags.models) {
    LoadedModel loaded = load_model(model_flags(flags, path));
    const RunRecord record = model_record(loaded, 0, false);
    sides.push_back(loaded_side(flags, loaded.decoder, record.model, record.config.at("label")));
    sides.back().record = record;
    sides.back().stage = is_converted(loaded) ? "mla" : "original";
    if (flags.method.method.empty()) continue;
    auto prepared = std::make_shared<Prepared>(prepare(std::move(loaded), flags.data_root, flags.method, flags.calibration, nullptr));
    RunRecord converted = conversion_record(*prepared, program_arguments());
    const Conversion conversion = convert_prepared(*prepared, converted);
    sides.push_back(loaded_side(flags, conversion.converted, record.model, prepared->resolved.recipe.label));
    sides.back().record = converted;
    sides.back().stage = "mla";
    sides.back().prepared = std::move(prepared);
  }
  return sides;
}

// "llama-2-7b", "llama-2-7b, 2 layers".
std::string shape_title(const std::string& name, int64_t layers) {
  return layers == 0 ? name : name + ", " + std::to_string(layers) + (layers == 1 ? " layer" : " layers");
}

void describe_shape(BenchSide& side, const SideFlags& flags, const std::string& shape, const std::string& latent) {
  side.model.model = shape_title(shape, flags.layers);
  side.model.label = latent.empty() ? kOriginal : "mla " + latent;
  side.stage = latent.empty() ? "original" : "mla";
  RunRecord& record = side.record = program_record(program_arguments());
  record.method = latent.empty() ? kOriginal : "mla";
  record.model = side.model.model;
  record.architecture = side.model.architecture;
  record.config = {{"method", record.method}, {"label", side.model.label}, {"shape", shape}, {"layers", flags.layers}, {"latent", latent}};
  record.dtype = side.model.dtype;
  record.device = side.model.device;
  record.threads = at::get_num_threads();
  record.seed = static_cast<int64_t>(flags.seed);
}

std::vector<BenchSide> load_shapes(const SideFlags& flags) {
  if (flags.threads > 0) at::set_num_threads(flags.threads);
  const at::Device device = parse_device(flags.device);
  std::vector<BenchSide> sides;
  for (const std::string& name : flags.shapes) {
    const ModelConfig config = find_shape(name, flags.layers);
    status("Making", shape_title(name, flags.layers) + " of random numbers (" + flags.dtype + ", " + device.str() + ")");
    const Decoder original = random_decoder(config, device, parse_dtype(flags.dtype), flags.seed);
    sides.push_back(loaded_side(flags, original, "", ""));
    describe_shape(sides.back(), flags, name, "");
    if (flags.latent.empty()) continue;
    const LatentSize size = parse_latent(flags.latent);
    sides.push_back(loaded_side(flags, with_latent_attention(original, size, flags.seed), "", ""));
    describe_shape(sides.back(), flags, name, size.name());
  }
  return sides;
}

void add_cache_values(BenchSide& side) {
  side.record.kv_values = static_cast<int64_t>(side.model.kv_values + 0.5);
  if (side.stage == "original") side.record.kv_values_original = side.record.kv_values;
  if (!side.decoder.layers.empty()) side.record.kv_values_by_layer = side.decoder.cache_values_by_layer();
}

// Numbers of a decoder whose tensors have sizes and no memory.
int64_t parameters_of(Decoder decoder) {
  int64_t count = decoder.embedding.numel() + decoder.final_norm.numel() + (decoder.config.tie_word_embeddings ? 0 : decoder.head.numel());
  const auto add = [&](const at::Tensor& t) { count += t.defined() ? t.numel() : 0; };
  for (DecoderLayer& layer : decoder.layers) each_layer_tensor(layer, add);
  return count;
}

// Of the two forms that shapes have; a forward writes these widths into its cache.
std::vector<LayerStreams> planned_streams(const Decoder& decoder) {
  std::vector<LayerStreams> streams;
  for (const DecoderLayer& layer : decoder.layers) {
    if (const auto* gqa = std::get_if<GqaWeights>(&layer.attention)) streams.push_back({gqa->k.size(0), gqa->v.size(0), 0});
    else streams.push_back({std::get<MlaWeights>(layer.attention).kv_a.size(0), std::get<MlaWeights>(layer.attention).k_rope.size(0), 0});
  }
  return streams;
}

std::vector<BenchSide> plan_shapes(const SideFlags& flags) {
  std::vector<BenchSide> sides;
  const auto plan = [&](const Decoder& decoder, const std::string& name, const std::string& latent) {
    sides.push_back(make_side(flags, decoder.config, parameters_of(decoder), planned_streams(decoder), at::kCPU));
    describe_shape(sides.back(), flags, name, latent);
  };
  for (const std::string& name : flags.shapes) {
    const Decoder original = random_decoder(find_shape(name, flags.layers), at::kMeta, parse_dtype(flags.dtype), flags.seed);
    plan(original, name, "");
    if (flags.latent.empty()) continue;
    const LatentSize size = parse_latent(flags.latent);
    plan(with_latent_attention(original, size, flags.seed), name, size.name());
  }
  return sides;
}

std::vector<BenchSide> plan_models(const SideFlags& flags) {
  const at::ScalarType dtype = parse_dtype(flags.dtype);
  std::vector<BenchSide> sides;
  for (const std::string& name : flags.models) {
    const std::filesystem::path path = find_model(name);
    const std::shared_ptr<Checkpoint> checkpoint = Checkpoint::open(path);
    const Json conversion = conversion_of(path);
    const auto plan = [&](const ModelCount& count, const std::string& label) {
      sides.push_back(make_side(flags, checkpoint->config(), count.parameters, count.layers, at::kCPU));
      sides.back().model.model = display_name(path);
      sides.back().model.label = label;
    };
    plan(count_model(*checkpoint, dtype), conversion.is_null() ? kOriginal : conversion.value("label", "converted"));
    if (flags.method.method.empty()) continue;
    Recipe recipe = find_recipe(flags.method.method).make(method_options(flags.method), checkpoint->config());
    const std::string label = recipe.label;
    plan(count_conversion(*checkpoint, std::move(recipe), dtype), label);
  }
  return sides;
}

}  // namespace

void add_side_flags(CLI::App& command, SideFlags& flags) {
  command.add_option("-m,--model,-M,--model-path", flags.models, "GGUF file or folder; several are timed side by side, ratios are to the first")->delimiter(',');
  command.add_option("--shape", flags.shapes, "A model of random weights in place of a file: " + join(shape_names()))->delimiter(',')->group("Shapes");
  command.add_option("--layers", flags.layers, "Only that many layers of the shape, and rows say so [all]")->check(CLI::Range(1, 1024))->group("Shapes");
  command.add_option("--mla", flags.latent, "KV_LORA_RANK+QK_ROPE_HEAD_DIM: the shape with latent attention beside it, as in 512+64")->group("Shapes");
  command.add_option("--shape-seed", flags.seed, "Seed of the weights [1]")->group("Shapes");
  command.add_option("--dtype", flags.dtype, "Weights and activations: fp32, bf16 or fp16 [fp32]");
  command.add_option("--device", flags.device, "auto, cpu or cuda [auto]");
  command.add_option("--data-root", flags.data_root, "Folder of the named texts [$MLAFORGE_DATA, else ../shared/data]");
  add_method_flags(command, flags.method, false);
  add_calibration_flags(command, flags.calibration);
  add_cache_flags(command, flags.cache);
}

std::vector<BenchSide> load_sides(const SideFlags& flags) {
  check_sides(flags);
  std::vector<BenchSide> sides = flags.shapes.empty() ? load_models(flags) : load_shapes(flags);
  for (BenchSide& side : sides) add_cache_values(side);
  return sides;
}

std::vector<BenchSide> plan_sides(const SideFlags& flags) {
  check_sides(flags);
  return flags.shapes.empty() ? plan_models(flags) : plan_shapes(flags);
}

}  // namespace mla
