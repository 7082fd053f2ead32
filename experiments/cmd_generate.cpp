#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/process.h"
#include "core/model/generation.h"
#include "experiments/cache_options.h"
#include "experiments/commands.h"
#include "experiments/session.h"

namespace mla {
namespace {

struct GenerateFlags {
  ModelFlags model;
  CacheFlags cache;
  std::string prompt, prompt_file, format = "text";
  int64_t max_new_tokens = 64;
  bool parse_special = false, ignore_eos = false;
};

std::string prompt_of(const GenerateFlags& flags) {
  if (flags.prompt.empty() == flags.prompt_file.empty())
    fail<UsageError>("generate", "wanted one of --prompt TEXT and --prompt-file FILE, got ", flags.prompt.empty() ? "neither" : "both");
  return flags.prompt.empty() ? read_text_file(flags.prompt_file) : flags.prompt;
}

// Bytes of `text` up to the last whole UTF-8 character: a token may end inside one.
std::size_t whole_characters(const std::string& text) {
  std::size_t start = text.size();
  while (start > 0 && text.size() - start < 3 && (static_cast<unsigned char>(text[start - 1]) & 0xC0) == 0x80) --start;
  if (start == 0) return text.size();
  const auto lead = static_cast<unsigned char>(text[start - 1]);
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
  return text.size() - (start - 1) < length ? start - 1 : text.size();
}

void generate_text(const GenerateFlags& flags) {
  const std::string prompt = prompt_of(flags);
  KvCache cache{{}, cache_format(flags.cache, parse_dtype(flags.model.dtype))};
  const Stopwatch cold;
  const LoadedModel model = load_model(flags.model);
  const double load_seconds = cold.seconds();
  const std::vector<int32_t> ids = model.tokenizer->encode(prompt, {.parse_special = flags.parse_special});
  if (ids.empty()) fail<UsageError>("generate", "wanted a prompt of at least one token, got none");
  GenerationOptions options{.max_new_tokens = flags.max_new_tokens, .cache = &cache};
  if (!flags.ignore_eos && model.tokenizer->eos_id() >= 0) options.stop_ids = {model.tokenizer->eos_id()};

  double first_token_seconds = 0;
  std::string pending;
  const auto show = [&](int32_t id) {
    if (first_token_seconds == 0) first_token_seconds = cold.seconds();
    if (flags.format == "text") {
      pending += model.tokenizer->piece(id);
      const std::size_t whole = whole_characters(pending);
      std::cout << pending.substr(0, whole) << std::flush;
      pending.erase(0, whole);
    }
    return true;
  };
  const std::vector<int32_t> more = generate(model.decoder, ids, options, show);
  if (flags.format == "text") {
    std::cout << pending << '\n';
    return;
  }
  const double decode_seconds = cold.seconds() - first_token_seconds;
  const Json result{{"prompt", prompt}, {"text", model.tokenizer->decode(more)}, {"prompt_ids", ids}, {"ids", more},
                    {"kv_cache", cache.format.own() ? Json(model.dtype) : Json(cache_format_name(cache.format))}, {"cache_tokens", cache.length()}, {"cache_bytes", cache.bytes()},
                    {"cache_bytes_per_token", static_cast<double>(cache.bytes()) / static_cast<double>(cache.length())}, {"load_seconds", load_seconds}, {"first_token_seconds", first_token_seconds},
                    {"tokens_per_second", more.size() > 1 && decode_seconds > 0 ? Json(static_cast<double>(more.size() - 1) / decode_seconds) : Json()}};
  std::cout << result.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

}  // namespace

void add_generate_command(CLI::App& app) {
  auto flags = std::make_shared<GenerateFlags>();
  CLI::App* command = app.add_subcommand("generate", "Continue a prompt greedily, with an original or a converted model");
  add_model_flags(*command, flags->model);
  command->add_option("--prompt,-p", flags->prompt, "Text to continue");
  command->add_option("--prompt-file", flags->prompt_file, "File with the text to continue");
  command->add_option("--max-new-tokens,-n", flags->max_new_tokens, "Tokens to add at most [64]")->check(CLI::Range(1, 1 << 20));
  command->add_flag("--parse-special", flags->parse_special, "Read <|im_start|> and its like in the prompt as special tokens");
  command->add_flag("--ignore-eos", flags->ignore_eos, "Go on after the end-of-text token");
  add_cache_flags(*command, flags->cache);
  add_format_flag(*command, flags->format, {"text", "json"});
  add_examples(*command,
               "  mlaforge generate --model model.gguf --prompt 'The capital of France is' --max-new-tokens 16\n"
               "  mlaforge generate --model converted --prompt-file story.txt --format json\n"
               "  mlaforge generate --model converted --prompt-file story.txt --kv-cache int4 --kv-residual 32 --format json\n"
               "  mlaforge generate --model model.gguf --parse-special \\\n"
               "      --prompt $'<|im_start|>user\\nWhat is a cache?<|im_end|>\\n<|im_start|>assistant\\n'\n");
  command->callback([flags] { generate_text(*flags); });
}

}  // namespace mla
