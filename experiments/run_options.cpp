#include "experiments/run_options.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/names.h"
#include "methods/parts.h"

namespace mla {
namespace {

// 4 -> 4, 0.5 -> 0.5, true -> true, anything else is text.
Json typed(const std::string& text) {
  const Json parsed = Json::parse(text, nullptr, false);
  return parsed.is_number() || parsed.is_boolean() ? parsed : Json(text);
}

std::string owners_of(const std::string& option) {
  std::vector<std::string> owners;
  for (const RecipeEntry* entry : recipes())
    for (const OptionHelp& help : entry->options)
      if (option == help.name) owners.push_back(entry->name);
  return join(owners);
}

}  // namespace

std::string flag_of(const std::string& option) {
  std::string flag = "--" + option;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

void add_model_flags(CLI::App& command, ModelFlags& flags, bool required) {
  command.add_option("--model,--model-path,-M", flags.model, "GGUF file, or directory with config.json and safetensors")
      ->required(required);
  command.add_option("--dtype", flags.dtype, "Weights and activations: fp32, bf16 or fp16 [fp32]");
  command.add_option("--device", flags.device, "auto, cpu or cuda [auto]");
  command.add_flag("!--no-deterministic", flags.deterministic, "On a card, operators whose sums come in any order, and other last digits every time");
  command.add_option("--threads", flags.threads, "CPU threads; part of a run's identity [all cores]")->check(CLI::Range(0, 4096));
  command.add_option("--data-root", flags.data_root, "Folder of the named texts [$MLAFORGE_DATA, else ../shared/data]");
}

void add_method_flags(CLI::App& command, MethodFlags& flags, bool required) {
  command.add_option("--method", flags.method, "Recipe, one of `mlaforge methods`")->required(required);
  for (const RecipeEntry* entry : recipes()) {
    for (const OptionHelp& help : entry->options) {
      const std::string name = help.name, flag = flag_of(name);
      if (command.get_option_no_throw(flag) != nullptr) continue;
      const auto keep = [&flags, name](const std::string& text) { flags.given[name] = text; };
      command.add_option_function<std::string>(flag, keep, std::string(help.meaning) + " [" + help.fallback + "]")
          ->group("Options of " + owners_of(name));
    }
  }
}

Json method_options(const MethodFlags& flags) {
  const RecipeEntry& recipe = find_recipe(flags.method);
  Json options = Json::object();
  for (const auto& [name, text] : flags.given) {
    const auto known = [&name = name](const OptionHelp& help) { return name == help.name; };
    if (std::none_of(recipe.options.begin(), recipe.options.end(), known))
      fail<UsageError>("methods", "method '", flags.method, "' has no option ", flag_of(name), "; it belongs to ", owners_of(name));
    options[name] = typed(text);
  }
  return options;
}

void add_calibration_flags(CLI::App& command, CalibrationFlags& flags) {
  const std::string group = "Calibration";
  command.add_option("--calibration-ids", flags.ids, "JSON file with the token ids of the samples")->group(group);
  command.add_option("--cal-dataset", flags.dataset, "Samples from a file (text, .json, .jsonl) or a named text: wikitext2, ptb, c4, alpaca, wikitext2-tok, debian-faq, debian-policy")->group(group);
  command.add_option("--cal-field", flags.samples.rows.field, "Field of JSON rows that holds the text [text]")->group(group);
  command.add_option_function<int64_t>("--cal-nsamples", [&flags](int64_t count) { flags.samples.samples = count, flags.samples_given = true; },
                                       "Samples to draw [128, or the method's own number]")->check(CLI::PositiveNumber)->group(group);
  command.add_option("--cal-self-samples", flags.self_samples, "Further samples, which the original model writes itself from random first tokens [0, or the method's own number]")
      ->check(CLI::NonNegativeNumber)->group(group);
  command.add_option("--cal-max-seqlen", flags.samples.max_seqlen, "Tokens per sample [256]")->check(CLI::PositiveNumber)->group(group);
  command.add_option("--cal-batch-size", flags.samples.batch_size, "Samples per batch [8]")->check(CLI::PositiveNumber)->group(group);
  command.add_option("--seed", flags.samples.seed, "Seed of the draw [42]")->group(group);
  command.add_flag("--no-stats-cache", flags.no_cache, "Measure statistics and make decompositions even where the cache holds them")->group(group);
  command.add_option("--select-on", flags.select_on, "Where options given as auto are tried: calibration (held-out windows) or test [calibration]")
      ->check(CLI::IsMember({"calibration", "test"}))->group(group);
  command.add_option("--qk-norms", flags.qk_norms, "JSON file of 2-norm ranks, in place of measured norms of rotary pairs")->check(CLI::ExistingFile)->group(group);
  command.add_option("--save-qk-norms", flags.save_qk_norms, "Write the 2-norm ranks to this file")->group(group);
}

void require_calibration(const CalibrationFlags& flags, const std::string& method) {
  if (flags.ids.empty() == flags.dataset.empty())
    fail<UsageError>("calibration", "method '", method, "' wants either --calibration-ids FILE.json or --cal-dataset TEXT, got ",
                     flags.ids.empty() ? "neither" : "both");
}

void add_corpus_flags(CLI::App& command, CorpusFlags& flags, bool required) {
  const std::string group = "Evaluation";
  command.add_option("--corpus", flags.corpus, "Text to score: a file, or one of the named texts (wikitext2-tok, debian-policy, debian-faq)")->required(required)->group(group);
  command.add_option("--protocol", flags.windows.protocol, "How the text is cut and what counts: " + join(window_protocols()) + " [hf-chunk]")
      ->check(CLI::IsMember(window_protocols()))->group(group);
  command.add_option("--stride", flags.windows.stride, "Tokens from window to window under hf-stride [half of --window]")->check(CLI::PositiveNumber)->group(group);
  command.add_option("--bos", flags.windows.bos, "BOS token: none, text (one at its beginning), window (in place of each window's first token) [none]")
      ->check(CLI::IsMember({"none", "text", "window"}))->group(group);
  command.add_option("--window", flags.windows.window, "Tokens per window [2048]")->check(CLI::Range(2, 1 << 20))->group(group);
  command.add_option("--max-windows", flags.windows.max_windows, "Score the first N windows; part of the protocol's name [all]")
      ->check(CLI::NonNegativeNumber)->group(group);
  command.add_option("--skip-windows", flags.windows.skip_windows, "Leave the first N windows out; part of the protocol's name [0]")
      ->check(CLI::NonNegativeNumber)->group(group);
  command.add_option("--limit,-L", flags.limit, "Ad hoc cut to N windows or items, which keeps the row out of tables [none]")
      ->check(CLI::NonNegativeNumber)->group(group);
  command.add_flag("!--no-hidden-cache", flags.hidden.on, "Compute the original's last hidden states even where the cache holds them, and keep none")->group(group);
  command.add_option("--hidden-cache-mb", flags.hidden.limit_mb, "Size of that cache; beyond it the longest unused leave [4096]")->check(CLI::NonNegativeNumber)->group(group);
}

}  // namespace mla
