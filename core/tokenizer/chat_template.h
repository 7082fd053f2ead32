// The families' chat templates, each written here as code. A model's own template is recognised by its hash, never interpreted.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/tokenizer/tokenizer.h"

namespace mla {

struct ChatMessage {
  std::string role;  // system (only the first), user, assistant
  std::string content;
};

// Names for --template, sorted: chatml, gemma, llama-2, ...
const std::vector<std::string>& chat_template_names();

// A model's own template: chat_template.jinja or tokenizer_config.json of its folder, tokenizer.chat_template of a GGUF file. Empty
// where it has none. Throws CheckpointError.
std::optional<std::string> find_chat_template(const std::filesystem::path& model);

// sha256 of the text with line ends as \n and none at its end.
std::string chat_template_hash(std::string_view text);

struct ChatChoice {
  std::string name;    // one of chat_template_names()
  std::string sha256;  // of the model's own template; empty where it has none
};
// `asked` is a name, or "auto" for the model's own. Throws ConfigError: an unknown name; for auto, a model without a template or with
// one whose hash is not known, which is named with how to choose.
ChatChoice choose_chat_template(const std::filesystem::path& model, const std::string& asked);

// The conversation as the template renders it with add_generation_prompt: up to where the assistant's answer begins. `bos` and `eos` are
// those tokens' texts, empty where the tokenizer has none. Throws ConfigError for another role, for roles out of turn, for a
// conversation that does not end with the user, and for a system message where the template has no place for one.
std::string render_chat(const std::string& name, const std::vector<ChatMessage>& messages, const std::string& bos, const std::string& eos);

// render_chat with the tokenizer's own BOS and EOS.
std::string render_chat(const std::string& name, const std::vector<ChatMessage>& messages, const Tokenizer& tokenizer);

// Ids of a rendered conversation: special tokens are read as such, wherever they stand, and BOS is put in front where the tokenizer
// does so and the text does not begin with it.
std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, std::string_view text);

// Where an assistant's answer ends: the tokenizer's stop_ids() and the template's own end of a turn, where that is a token.
std::vector<int32_t> chat_stop_ids(const std::string& name, const Tokenizer& tokenizer);

}  // namespace mla
