// What each family's template writes, with add_generation_prompt. Held against transformers' engine in tests/tokenizer/chat_template_test.cpp.
#include <algorithm>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/tokenizer/chat_template.h"

namespace mla {
namespace {

enum class Style { chatml, gemma, llama2, llama3, mistral, phi3 };

struct TemplateEntry {
  const char* name;
  Style style;
  const char* system = "";  // what stands for a missing system message
  // of mistral:
  const char *open = "", *close = "", *answer = "";  // around the user's text; before the assistant's
  bool system_last = false;                          // the system message goes with the last question, not with the first
};

// Sorted by name.
constexpr TemplateEntry kTemplates[] = {
    {"chatml", Style::chatml},
    {"gemma", Style::gemma},
    {"llama-2", Style::llama2},
    {"llama-3", Style::llama3},
    {"llama-3.1", Style::llama3, "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"},
    {"mistral", Style::mistral, "", "[INST] ", " [/INST]", ""},
    {"mistral-nemo", Style::mistral, "", "[INST]", "[/INST]", "", true},
    {"mistral-v1", Style::mistral, "", " [INST] ", " [/INST]", " "},
    {"mistral-v3", Style::mistral, "", "[INST] ", "[/INST]", " ", true},
    {"phi-3", Style::phi3},
    {"qwen2", Style::chatml, "You are a helpful assistant."},
    {"qwen2.5", Style::chatml, "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
    {"qwen3", Style::chatml},
    {"smollm2", Style::chatml, "You are a helpful AI assistant named SmolLM, trained by Hugging Face"}};

struct Conversation {
  const TemplateEntry& entry;
  std::optional<std::string> system;
  std::vector<ChatMessage> turns;  // user and assistant by turns, the user first and last
  const std::string &bos, &eos;
};

std::string trim(const std::string& text) { return std::string(strip_space(text)); }

// Qwen3 leaves out what earlier answers thought.
std::string without_thought(const std::string& text) {
  constexpr std::string_view kEnd = "</think>";
  const std::size_t end = text.rfind(kEnd);
  if (end == std::string::npos) return text;
  const std::size_t begin = text.find_first_not_of('\n', end + kEnd.size());
  return begin == std::string::npos ? "" : text.substr(begin);
}

std::string chatml(const Conversation& chat) {
  const auto message = [](const std::string& role, const std::string& text) { return "<|im_start|>" + role + '\n' + text + "<|im_end|>\n"; };
  std::string out;
  if (chat.system) out = message("system", *chat.system);
  else if (*chat.entry.system != '\0') out = message("system", chat.entry.system);
  const bool forgets = std::string_view(chat.entry.name) == "qwen3";
  for (const ChatMessage& turn : chat.turns) out += message(turn.role, forgets && turn.role == "assistant" ? without_thought(turn.content) : turn.content);
  return out + "<|im_start|>assistant\n";
}

std::string gemma(const Conversation& chat) {
  std::string out = chat.bos;
  for (const ChatMessage& turn : chat.turns)
    out += "<start_of_turn>" + std::string(turn.role == "assistant" ? "model" : "user") + '\n' + trim(turn.content) + "<end_of_turn>\n";
  return out + "<start_of_turn>model\n";
}

std::string llama2(const Conversation& chat) {
  std::string out;
  bool first = true;
  for (const ChatMessage& turn : chat.turns) {
    const std::string before = first && chat.system ? "<<SYS>>\n" + *chat.system + "\n<</SYS>>\n\n" : "";
    first = false;
    if (turn.role == "user") out += chat.bos + "[INST] " + trim(before + turn.content) + " [/INST]";
    else out += ' ' + trim(turn.content) + ' ' + chat.eos;
  }
  return out;
}

std::string llama3(const Conversation& chat) {
  const auto header = [](const std::string& role) { return "<|start_header_id|>" + role + "<|end_header_id|>\n\n"; };
  std::string out = chat.bos;
  const std::string system = chat.entry.system + trim(chat.system.value_or(""));
  if (chat.system || !system.empty()) out += header("system") + system + "<|eot_id|>";
  for (const ChatMessage& turn : chat.turns) out += header(turn.role) + trim(turn.content) + "<|eot_id|>";
  return out + header("assistant");
}

std::string mistral(const Conversation& chat) {
  std::string out = chat.bos;
  const std::size_t with_system = chat.entry.system_last ? chat.turns.size() - 1 : 0;
  const bool trimmed = std::string_view(chat.entry.name) == "mistral-v3";
  for (std::size_t i = 0; i < chat.turns.size(); ++i) {
    const std::string& text = chat.turns[i].content;
    if (chat.turns[i].role == "assistant") out += chat.entry.answer + (trimmed ? trim(text) : text) + chat.eos;
    else out += chat.entry.open + (chat.system && i == with_system ? *chat.system + "\n\n" : "") + text + chat.entry.close;
  }
  return out;
}

std::string phi3(const Conversation& chat) {
  const auto message = [](const std::string& role, const std::string& text) { return "<|" + role + "|>\n" + text + "<|end|>\n"; };
  std::string out;
  if (chat.system && !chat.system->empty()) out = message("system", *chat.system);
  for (const ChatMessage& turn : chat.turns) out += message(turn.role, turn.content);
  return out + "<|assistant|>\n";
}

const TemplateEntry& find_entry(const std::string& name) {
  for (const TemplateEntry& entry : kTemplates)
    if (name == entry.name) return entry;
  fail<ConfigError>("chat", "unknown chat template '", name, "'", known_names_hint(name, chat_template_names()));
}

// System message and turns apart, the turns in order.
Conversation conversation_of(const TemplateEntry& entry, std::vector<ChatMessage> messages, const std::string& bos, const std::string& eos) {
  Conversation chat{entry, std::nullopt, {}, bos, eos};
  const bool has_system = entry.style != Style::gemma && std::string_view(entry.name) != "mistral";
  for (std::size_t i = 0; i < messages.size(); ++i) {
    ChatMessage& message = messages[i];
    if (message.role == "system" && i == 0) {
      if (!has_system) fail<ConfigError>("chat", "wanted no system message, for which the template ", entry.name, " has no place, got one; put it into the user's message");
      chat.system = std::move(message.content);
      continue;
    }
    const char* due = chat.turns.size() % 2 == 0 ? "user" : "assistant";
    if (message.role != due) fail<ConfigError>("chat", "wanted a message of the ", due, " at position ", i, ", got one of '", message.role, "'");
    chat.turns.push_back(std::move(message));
  }
  if (chat.turns.size() % 2 == 0) fail<ConfigError>("chat", "wanted a conversation that ends with the user, got ", messages.size(), " messages");
  return chat;
}

}  // namespace

const std::vector<std::string>& chat_template_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const TemplateEntry& entry : kTemplates) all.emplace_back(entry.name);
    return all;
  }();
  return names;
}

std::string render_chat(const std::string& name, const std::vector<ChatMessage>& messages, const std::string& bos, const std::string& eos) {
  const Conversation chat = conversation_of(find_entry(name), messages, bos, eos);
  switch (chat.entry.style) {
    case Style::chatml: return chatml(chat);
    case Style::gemma: return gemma(chat);
    case Style::llama2: return llama2(chat);
    case Style::llama3: return llama3(chat);
    case Style::mistral: return mistral(chat);
    case Style::phi3: break;
  }
  return phi3(chat);
}

std::string render_chat(const std::string& name, const std::vector<ChatMessage>& messages, const Tokenizer& tokenizer) {
  const auto text_of = [&](int32_t id) { return id < 0 ? std::string() : tokenizer.piece(id); };
  return render_chat(name, messages, text_of(tokenizer.bos_id()), text_of(tokenizer.eos_id()));
}

std::vector<int32_t> chat_stop_ids(const std::string& name, const Tokenizer& tokenizer) {
  const auto end_of_turn = [](Style style) {
    switch (style) {
      case Style::chatml: return "<|im_end|>";
      case Style::gemma: return "<end_of_turn>";
      case Style::llama3: return "<|eot_id|>";
      case Style::phi3: return "<|end|>";
      case Style::llama2: case Style::mistral: break;  // EOS itself
    }
    return "";
  };
  std::vector<int32_t> ids = tokenizer.stop_ids();
  const int32_t end = tokenizer.id_of(end_of_turn(find_entry(name).style));
  if (end >= 0 && std::find(ids.begin(), ids.end(), end) == ids.end()) ids.push_back(end);
  return ids;
}

std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, std::string_view text) {
  const bool has_bos = tokenizer.bos_id() >= 0 && text.starts_with(tokenizer.piece(tokenizer.bos_id()));
  return tokenizer.encode(text, {.parse_special = true, .add_special = !(has_bos && tokenizer.adds_bos())});
}

}  // namespace mla
