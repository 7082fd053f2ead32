#include "experiments/model_export.h"

#include <algorithm>
#include <cstdio>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/base/progress.h"
#include "core/calibration/stats_stream.h"
#include "core/model/deepseek_folder.h"
#include "core/model/deepseek_gguf.h"
#include "core/tokenizer/chat_template.h"
#include "experiments/data_root.h"
#include "experiments/model_parity.h"
#include "methods/latent_norms.h"

namespace mla {
namespace {

const std::vector<std::string> kTargets{"mlaforge", "transformers", "vllm", "llama.cpp"};
constexpr int64_t kCheckTokens = 256;

constexpr const char* kCheckText =
    "A cache keeps what was computed once, so that it need not be computed again. Attention keeps two vectors for every token and every head; "
    "a latent keeps one for all heads together, and from it keys and values are rebuilt whenever they are wanted.\n\n"
    "In 1905 the town had 12,480 inhabitants, two mills and a railway station. Its market was held on Tuesdays and Fridays, and people came from "
    "as far as thirty miles to sell wool, apples and honey there. \"Nobody leaves with empty hands,\" they used to say.\n\n"
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n    return total / len(values)  # an empty list is an error\n\n"
    "Question: Which of the two is larger, 3/7 or 0.43? Answer: 3/7 is about 0.4286, so 0.43 is larger by a little less than two thousandths.\n";

Json loads_in(const std::string& target) {
  if (target == "vllm") return {"vllm", "transformers"};
  return Json::array({target});
}

// One row of tokens out of the samples, not padded.
at::Tensor check_ids(const CalibrationSamples& samples) {
  const CalibrationBatch& batch = samples.batches.front();
  const int64_t length = batch.mask[0].sum().item<int64_t>();
  return batch.ids.narrow(0, 0, 1).masked_select(batch.mask.narrow(0, 0, 1)).narrow(0, 0, std::min(length, kCheckTokens)).unsqueeze(0);
}

// The model with a norm on every latent, its weight calibrated; the queries' own latents stay as they are.
LayerStream with_latent_norms(const LayerStream& model, const CalibrationSamples& samples) {
  for (int64_t layer = 0; layer < model.layers(); ++layer) {
    const AttentionWeights attention = model.read(layer, LayerParts::outline).attention;
    const auto* latent = std::get_if<MlaWeights>(&attention);
    if (latent == nullptr || latent->kv_a_norm.defined()) return model;  // to_deepseek_form says why it cannot be held, or nothing is missing
  }
  const std::unique_ptr<StatsStream> stats = measured_stats(model.frame(), samples, {.latent_scales = true});
  std::vector<LatentScales> scales;
  for (int64_t layer = 0; layer < model.layers(); ++layer) scales.push_back(stats->next(model.with_layer(layer), layer).latents);
  return model.changed(model.frame(), [scales](int64_t layer, LayerParts, DecoderLayer& weights) {
    const at::Tensor query_norm = std::get<MlaWeights>(weights.attention).q_a_norm;
    set_latent_norms(weights.attention, layer, LatentNorm::calibrated, scales[static_cast<std::size_t>(layer)]);
    std::get<MlaWeights>(weights.attention).q_a_norm = query_norm;
  });
}

Json export_own(const ExportSource& source, Json record, const ExportFlags& flags, bool checks, const std::string& out) {
  const auto check = [&](const std::filesystem::path& written) {
    record["parity"] = check_written(source.model, flags.target, written, check_ids(source.samples));
    return Json{{"parity", record["parity"]}};
  };
  save_model(source.model, tokenizer_files(find_model(source.files.path), *source.files.tokenizer), record, out, checks ? CheckWritten(check) : nullptr, flags.shard_bytes);
  return record;
}

Json export_deepseek(const ExportSource& source, Json record, const ExportFlags& flags, bool checks, const std::string& out) {
  const bool exact = flags.target == "transformers", gguf = flags.target == "llama.cpp";
  const DeepseekShape shape = deepseek_shape(flags.target, source.model.layers());
  const LayerStream form = to_deepseek_form(exact ? source.model : with_latent_norms(source.model, source.samples), shape, source.scratch);
  const at::Tensor ids = check_ids(source.samples);
  if (!exact) {
    const Parity cost = compare_logits(source.model, form, ids);
    record["approximation"] = {{"what", "latent norm with a calibrated weight"}, {"tokens", cost.tokens}, {"kl_nats", cost.kl_nats}, {"max_logit_difference", cost.max_difference}};
  }
  const auto check = [&](const std::filesystem::path& written) {
    record["parity"] = check_written(exact ? source.model : form, flags.target, written, ids);
    return Json{{"parity", record["parity"]}};
  };
  const CheckWritten checked = checks ? CheckWritten(check) : nullptr;
  const std::filesystem::path model = find_model(source.files.path);
  if (!gguf) {
    save_deepseek(form, exact ? "hf-only" : flags.target, tokenizer_files(model, *source.files.tokenizer), record, out, checked, flags.shard_bytes);
    return record;
  }
  FreshFolder folder(out);
  save_deepseek_gguf(form, *source.files.tokenizer, {source.files.name, find_chat_template(model).value_or(""), record.dump()}, folder.path() / "model.gguf");
  folder.commit(record, checked);
  return record;
}

}  // namespace

void add_export_flags(CLI::App& command, ExportFlags& flags) {
  command.add_option("--for", flags.target, "Program that is to load it: " + join(kTargets) + " [mlaforge]")->check(CLI::IsMember(kTargets));
  command.add_flag_callback("--check", [&flags] { flags.check = true; }, "Read back what was written and compare its logits before calling it done [up to 1e9 parameters]");
  command.add_flag_callback("--no-check", [&flags] { flags.check = false; }, "Do not");
  command.add_option_function<double>("--shard-size", [&flags](double gigabytes) { flags.shard_bytes = static_cast<std::size_t>(gigabytes * 1e9); },
                                      "GB of weights in one safetensors file [5]")->check(CLI::Range(1e-6, 1e6));
}

Json check_written(const LayerStream& wanted, const std::string& target, const std::filesystem::path& written, const at::Tensor& ids) {
  const at::Device device = wanted.frame().device();
  const at::ScalarType dtype = wanted.frame().dtype();
  const auto read = [&] {
    if (target == "mlaforge") return open_layers(Checkpoint::open(written), device, dtype);
    return target == "llama.cpp" ? open_deepseek_gguf(written / "model.gguf", device, dtype) : open_deepseek(written, device, dtype);
  };
  return require_parity(wanted, read(), ids);
}

Json export_model(const ExportSource& source, const ExportFlags& flags, const std::string& out) {
  const bool checks = flags.check.value_or(source.model.parameters() <= kCheckedParameters);
  status("Writing", out + " for " + flags.target);
  Json record = source.record;
  record["target"] = flags.target;
  record["loads_in"] = loads_in(flags.target);
  record["parity"] = nullptr;
  return flags.target == "mlaforge" ? export_own(source, std::move(record), flags, checks, out) : export_deepseek(source, std::move(record), flags, checks, out);
}

std::string describe_export(const Json& exported, const std::string& out) {
  const std::string target = exported.at("target");
  const auto figures = [](const Json& parity) {
    char text[160];
    std::snprintf(text, sizeof text, "largest logit difference %.3g, KL %.3g nats over %lld tokens", parity.at("max_logit_difference").get<double>(),
                  parity.at("kl_nats").get<double>(), static_cast<long long>(parity.at("tokens").get<int64_t>()));
    return std::string(text);
  };
  std::string text;
  if (exported.contains("approximation"))
    text += out + ": approximated for " + target + " (" + exported["approximation"]["what"].get<std::string>() + "): " + figures(exported["approximation"]) + " to the model before\n";
  if (exported.at("parity").is_null()) return text + out + ": not checked\n";
  return text + out + ": read back and checked: " + figures(exported["parity"]) + "\n";
}

CalibrationSamples built_in_samples(const Tokenizer& tokenizer, int64_t max_position) {
  std::vector<int32_t> ids = tokenizer.encode(kCheckText);
  if (ids.size() < 2) fail<ConfigError>("export", "wanted a tokenizer that knows English text, got one that gives ", ids.size(), " tokens for it; name a text with --cal-dataset");
  if (max_position > 0) ids.resize(std::min(ids.size(), static_cast<std::size_t>(max_position)));
  CalibrationSamples samples;
  samples.batches.push_back({at::tensor(std::vector<int64_t>(ids.begin(), ids.end())).unsqueeze(0), at::ones({1, static_cast<int64_t>(ids.size())}, at::kBool)});
  samples.key = "built-in";
  return samples;
}

FolderFiles tokenizer_files(const std::filesystem::path& model, const Tokenizer& tokenizer) {
  FolderFiles files;
  // Folders of ours without tokenizer_config.json are of a time when tokenizer.json had a key that other programs refuse.
  const bool made_long_ago = std::filesystem::exists(model / "mla_conversion.json") && !std::filesystem::exists(model / "tokenizer_config.json");
  if (std::filesystem::is_directory(model) && !made_long_ago) {
    for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model",
                             "chat_template.jinja", "generation_config.json"})
      if (std::filesystem::is_regular_file(model / name)) files[name] = read_text_file(model / name);
    return files;
  }
  files["tokenizer.json"] = tokenizer.to_tokenizer_json().dump();
  Json config{{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}}, generation = Json::object();
  if (tokenizer.bos_id() >= 0) config["bos_token"] = tokenizer.piece(tokenizer.bos_id()), generation["bos_token_id"] = tokenizer.bos_id();
  if (tokenizer.eos_id() >= 0) config["eos_token"] = tokenizer.piece(tokenizer.eos_id()), generation["eos_token_id"] = tokenizer.eos_id();
  if (const std::optional<std::string> chat = find_chat_template(model)) config["chat_template"] = *chat;
  files["tokenizer_config.json"] = config.dump(2) + '\n';
  files["generation_config.json"] = generation.dump(2) + '\n';
  return files;
}

}  // namespace mla
