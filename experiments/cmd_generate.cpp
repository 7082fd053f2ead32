#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/base/process.h"
#include "core/engine/prompt_continuation.h"
#include "core/tokenizer/chat_template.h"
#include "experiments/cache_options.h"
#include "experiments/commands.h"
#include "experiments/data_root.h"
#include "experiments/decode_flag.h"
#include "experiments/session.h"

namespace mla {
namespace {

struct GenerateFlags {
  ModelFlags model;
  CacheFlags cache;
  std::string prompt, prompt_file, decode = "auto", format = "text";
  int64_t max_new_tokens = 64;
  std::string chat_template, system;
  bool chat = false, parse_special = false, ignore_eos = false;
};

// Ids of the prompt, and where the answer ends. The model file is looked at for its chat template alone.
struct Prompt {
  std::vector<int32_t> ids, stop_ids;
  Json chat;  // name and hash of the template, null without one
};

Prompt encode_prompt(const GenerateFlags& flags, const std::string& text, const Tokenizer& tokenizer, const std::optional<ChatChoice>& chat) {
  if (!chat) return {tokenizer.encode(text, {.parse_special = flags.parse_special, .add_special = true}), tokenizer.stop_ids(), nullptr};
  std::vector<ChatMessage> messages;
  if (!flags.system.empty()) messages.push_back({"system", flags.system});
  messages.push_back({"user", text});
  return {encode_chat(tokenizer, render_chat(chat->name, messages, tokenizer)), chat_stop_ids(chat->name, tokenizer), {{"name", chat->name}, {"sha256", chat->sha256}}};
}

// The template that was asked for: --chat alone means the model's own.
std::optional<ChatChoice> chat_of(const GenerateFlags& flags) {
  const bool asked = flags.chat || !flags.chat_template.empty();
  if (!flags.system.empty() && !asked) fail<UsageError>("generate", "wanted --chat beside --system, got none");
  if (!asked) return std::nullopt;
  return choose_chat_template(find_model(flags.model.model), flags.chat_template.empty() ? "auto" : flags.chat_template);
}

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
  PromptOptions options{.max_new_tokens = flags.max_new_tokens, .cache = cache_format(flags.cache, parse_dtype(flags.model.dtype)), .steps = flags.format == "text" ? 1 : 16};
  const std::optional<ChatChoice> chat = chat_of(flags);
  const Stopwatch cold;
  const LoadedModel model = load_model(flags.model);
  const double load_seconds = cold.seconds();
  const Prompt encoded = encode_prompt(flags, prompt, *model.tokenizer, chat);
  const std::vector<int32_t>& ids = encoded.ids;
  if (ids.empty()) fail<UsageError>("generate", "wanted a prompt of at least one token, got none");
  if (!flags.ignore_eos) options.stop_ids = encoded.stop_ids;

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
  const DecodeWay way = decode_way(parse_decode_path(flags.decode), model.decoder, options.cache, true);
  const PromptContinuation more = continue_prompt(model.decoder, way, ids, options, show);
  if (flags.format == "text") {
    std::cout << pending << '\n';
    return;
  }
  const double decode_seconds = cold.seconds() - first_token_seconds;
  const Json result{{"prompt", prompt}, {"chat_template", encoded.chat}, {"text", model.tokenizer->decode(more.ids)}, {"prompt_ids", ids}, {"ids", more.ids},
                    {"decode", decode_record(way.name(), way.reason)}, {"kv_cache", options.cache.own() ? Json(model.dtype) : Json(cache_format_name(options.cache))}, {"cache_tokens", more.cache_tokens}, {"cache_bytes", more.cache_bytes},
                    {"cache_bytes_per_token", static_cast<double>(more.cache_bytes) / static_cast<double>(more.cache_tokens)}, {"load_seconds", load_seconds}, {"first_token_seconds", first_token_seconds},
                    {"tokens_per_second", more.ids.size() > 1 && decode_seconds > 0 ? Json(static_cast<double>(more.ids.size() - 1) / decode_seconds) : Json()}};
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
  command->add_flag("--chat", flags->chat, "Ask as a user: the prompt goes into the model's chat template, and the answer ends where its turn does");
  command->add_option("--template", flags->chat_template, "The template of --chat: auto (the model's own, recognised by its hash), " + join(chat_template_names()) + " [auto]");
  command->add_option("--system", flags->system, "System message of --chat [the template's own]");
  command->add_flag("--parse-special", flags->parse_special, "Read <|im_start|> and its like in the prompt as special tokens");
  command->add_flag("--ignore-eos", flags->ignore_eos, "Go on after the end-of-text token");
  add_cache_flags(*command, flags->cache);
  add_decode_flag(*command, flags->decode);
  add_format_flag(*command, flags->format, {"text", "json"});
  add_examples(*command,
               "  mlaforge generate --model model.gguf --prompt 'The capital of France is' --max-new-tokens 16\n"
               "  mlaforge generate --model converted --prompt-file story.txt --format json\n"
               "  mlaforge generate --model converted --prompt-file story.txt --kv-cache int4 --kv-residual 32 --format json\n"
               "  mlaforge generate --model converted --prompt-file story.txt --device cuda --dtype bf16 --decode engine\n"
               "  mlaforge generate --model model.gguf --chat --prompt 'What is a cache?'\n"
               "  mlaforge generate --model converted --template llama-3 --system 'Be brief.' --prompt 'What is a cache?'\n");
  command->callback([flags] { generate_text(*flags); });
}

}  // namespace mla
