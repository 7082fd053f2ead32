// transmla-converter's tester: an original and its conversion side by side, on one prompt.
#include <algorithm>
#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "core/engine/prompt_continuation.h"
#include "experiments/commands.h"
#include "experiments/decode_flag.h"
#include "experiments/session.h"

namespace mla {
namespace {

constexpr const char* kPrompt = "The history of the city begins in the twelfth century, when merchants from the coast";

struct CompareFlags {
  ModelFlags model;  // dtype, device, threads; `model` is the original
  std::string converted, prompt, prompt_file, decode = "auto", format = "text";
  int64_t tokens = 32;
};

// Greedy generation of exactly `tokens` tokens: the end-of-text token does not stop it, so that both do the same work.
struct Generated {
  std::vector<int32_t> ids;
  double prefill_seconds = 0;  // to the first token
  double tokens_per_second = 0;  // of those after the first
  Json decode;                   // decode_record() of what generated them
};
Generated generate_timed(const Decoder& decoder, const DecodeWay& way, const std::vector<int32_t>& prompt, int64_t tokens) {
  Generated result;
  result.decode = decode_record(way.name(), way.reason);
  const Stopwatch watch;
  const PromptOptions options{.max_new_tokens = tokens};
  const auto first_token = [&](int32_t) {
    if (result.prefill_seconds == 0) result.prefill_seconds = watch.seconds();
    return true;
  };
  result.ids = continue_prompt(decoder, way, prompt, options, first_token).ids;
  const double decoding = watch.seconds() - result.prefill_seconds;
  result.tokens_per_second = decoding > 0 ? static_cast<double>(tokens - 1) / decoding : 0;
  return result;
}

// Over all positions of the prompt, fp64 from fp32 logits.
struct LogitAgreement {
  double max_relative_difference = 0, mean_kl_nats = 0, same_top = 0;
};
LogitAgreement compare_logits(const Decoder& original, const Decoder& converted, const std::vector<int32_t>& prompt) {
  const at::Tensor ids = at::tensor(std::vector<int64_t>(prompt.begin(), prompt.end()), at::kLong).unsqueeze(0);
  const auto logits = [&](const Decoder& decoder) { return decoder.logits(decoder.last_hidden(ids))[0].to(at::kCPU, at::kDouble); };
  const at::Tensor a = logits(original), b = logits(converted);
  require_finite(a, "in the original's logits");
  require_finite(b, "in the converted model's logits");
  const at::Tensor p = at::log_softmax(a, -1), q = at::log_softmax(b, -1);
  return {((a - b).abs().max() / a.abs().max()).item<double>(), (p.exp() * (p - q)).sum(-1).mean().item<double>(),
          a.argmax(-1).eq(b.argmax(-1)).to(at::kDouble).mean().item<double>()};
}

LoadedModel load_side(const CompareFlags& flags, const std::string& path) {
  ModelFlags model = flags.model;
  model.model = path;
  return load_model(model);
}

std::string prompt_of(const CompareFlags& flags) {
  if (!flags.prompt.empty() && !flags.prompt_file.empty()) fail<UsageError>("compare", "wanted one of --prompt and --prompt-file, got both");
  if (!flags.prompt_file.empty()) return read_text_file(flags.prompt_file);
  return flags.prompt.empty() ? kPrompt : flags.prompt;
}

Json describe_side(const LoadedModel& model, const Generated& generated) {
  return {{"model", model.name}, {"conversion", model.conversion.is_null() ? Json() : model.conversion.value("label", Json())},
          {"kv_values_per_token_per_layer", model.decoder.cache_values_per_token_per_layer()}, {"parameters", model.decoder.parameters()},
          {"decode", generated.decode}, {"prefill_seconds", generated.prefill_seconds}, {"tokens_per_second", generated.tokens_per_second},
          {"text", model.tokenizer->decode(generated.ids)}, {"ids", generated.ids}};
}

void print_side(const char* role, const Json& side) {
  const std::string label = side["conversion"].is_string() ? " (" + side["conversion"].get<std::string>() + ")" : "";
  std::printf("%-10s %s%s: %.6g cache values per token and layer, %.2f tokens/s (%s), first token after %.3f s\n", role, side["model"].get<std::string>().c_str(),
              label.c_str(), side["kv_values_per_token_per_layer"].get<double>(), side["tokens_per_second"].get<double>(),
              side["decode"]["way"].get<std::string>().c_str(), side["prefill_seconds"].get<double>());
  std::cout << "  " << side["text"].dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
}

void print_text(const Json& result) {
  print_side("original", result["original"]);
  print_side("converted", result["converted"]);
  const Json& logits = result["logits"];
  if (result["first_difference"].is_null()) std::printf("texts agree over %lld tokens\n", result["tokens"].get<long long>());
  else std::printf("texts differ from token %lld of %lld on\n", result["first_difference"].get<long long>() + 1, result["tokens"].get<long long>());
  std::printf("logits over %lld prompt tokens: max relative difference %.3g, KL %.4g nats, same top %.1f %%\n", result["prompt_tokens"].get<long long>(),
              logits["max_relative_difference"].get<double>(), logits["mean_kl_nats"].get<double>(), 100 * logits["same_top"].get<double>());
}

void compare_models(const CompareFlags& flags) {
  const std::string prompt = prompt_of(flags);
  const LoadedModel original = load_side(flags, flags.model.model), converted = load_side(flags, flags.converted);
  if (original.tokenizer->sha256() != converted.tokenizer->sha256())
    fail<ConfigError>("compare", "wanted two models with one tokenizer, got ", original.path, " and ", converted.path, " with different ones");
  const std::vector<int32_t> ids = original.tokenizer->encode(prompt);
  if (ids.empty()) fail<UsageError>("compare", "wanted a prompt of at least one token, got none");
  const DecodePath path = parse_decode_path(flags.decode);
  const DecodeWay original_way = decode_way(path, original.decoder, {}, true), converted_way = decode_way(path, converted.decoder, {}, true);
  const LogitAgreement logits = compare_logits(original.decoder, converted.decoder, ids);  // and warms both up
  status("Generating", std::to_string(flags.tokens) + " tokens with each model");
  const Generated first = generate_timed(original.decoder, original_way, ids, flags.tokens), second = generate_timed(converted.decoder, converted_way, ids, flags.tokens);
  const auto differing = std::mismatch(first.ids.begin(), first.ids.end(), second.ids.begin()).first - first.ids.begin();
  const bool agree = differing == static_cast<std::ptrdiff_t>(first.ids.size());
  const Json result{{"prompt", prompt}, {"prompt_tokens", ids.size()}, {"tokens", flags.tokens}, {"dtype", original.dtype}, {"device", original.device},
                    {"threads", original.threads}, {"original", describe_side(original, first)}, {"converted", describe_side(converted, second)},
                    {"texts_agree", agree}, {"first_difference", agree ? Json() : Json(differing)},
                    {"logits", {{"max_relative_difference", logits.max_relative_difference}, {"mean_kl_nats", logits.mean_kl_nats}, {"same_top", logits.same_top}}}};
  if (flags.format == "json") std::cout << result.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  else print_text(result);
}

}  // namespace

void add_compare_command(CLI::App& app) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App* command = app.add_subcommand("compare", "Original against converted on one prompt: speed, texts, logits, cache");
  command->add_option("original", flags->model.model, "The original: GGUF file or folder")->required();
  command->add_option("converted", flags->converted, "What `mlaforge convert` wrote, in any form (or any model with the same tokenizer)")->required();
  command->add_option("--tokens,-n", flags->tokens, "Tokens that each generates greedily [32]")->check(CLI::Range(2, 1 << 20));
  command->add_option("--prompt,-p", flags->prompt, "Text to continue [a sentence of ours]");
  command->add_option("--prompt-file", flags->prompt_file, "File with the text to continue");
  command->add_option("--dtype", flags->model.dtype, "Weights and activations: fp32, bf16 or fp16 [fp32]");
  command->add_option("--device", flags->model.device, "auto, cpu or cuda [auto]");
  command->add_option("--threads", flags->model.threads, "CPU threads [all cores]")->check(CLI::Range(0, 4096));
  add_decode_flag(*command, flags->decode, "; each of the two by itself");
  add_format_flag(*command, flags->format, {"text", "json"});
  add_examples(*command,
               "  mlaforge convert --model model.gguf --method transmla_converter --latent-dim 128 --out converted\n"
               "  mlaforge compare model.gguf converted --tokens 64\n"
               "  mlaforge compare model.gguf converted --prompt 'The capital of France is' --format json\n");
  command->callback([flags] { compare_models(*flags); });
}

}  // namespace mla
