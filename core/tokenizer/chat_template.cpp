// Which template a model has: its text is found and hashed. chat_render.cpp has what the templates write.
#include "core/tokenizer/chat_template.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/base/sha256.h"
#include "core/checkpoint/gguf_file.h"

namespace mla {
namespace {

struct KnownTemplate {
  const char* sha256;
  const char* name;
};
// Hashes of the texts that tests/oracle/chat_goldens.py rendered.
constexpr KnownTemplate kKnown[] = {
    {"fcf7a096fe99a48fd9ad2b250bf9237e96e8f48bffec1c7ea4d3f225176cd40e", "chatml"},
    {"872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788", "smollm2"},
    {"793202280c0910ab26bc6eb57c8212c2417324c6d8c4efd0d10d59092ab3e3eb", "qwen2"},
    {"55b2f4a26ac9ee719330a61a0c39d9e538b0e9322212f048326318cff4f8674a", "qwen2.5"},
    {"87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5", "qwen3"},
    {"e8d5b5a546d3f19df16a5320c614fab05bdc4edd50e850f1afd947b503ea41cf", "llama-2"},
    {"ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122", "llama-3"},
    {"93c0e9aa3629bbd77e68dbc0f5621f6e6b23aa8d74b932595cdb8d64684526d7", "llama-3.1"},
    {"d82792f95932f1c9cef5c4bd992f171225e3bf8c7b609b4557c9e1ec96be819f", "llama-3.1"},
    {"26a59556925c987317ce5291811ba3b7f32ec4c647c400c6cc7e3a9993007ba7", "mistral"},
    {"bbc58aad99454df60138be9530c9601a0adfe3d8932cda975e1f10b2410ddc51", "mistral-v1"},
    {"cafb64e0e9e5fd2503054b3479593fae39cbdfd52338ce8af9bb4664a8eb05bd", "mistral-v3"},
    {"e7deee034838db2bfc7487788a3013d8a307ab69f72f3c54a85f06fd76007d4e", "mistral-nemo"},
    {"1e51d5c0fec2f83da1953fb850b7b532b7da02d0dc35f9201e671e0b9a35a123", "gemma"},
    {"ecd6ae513fe103f0eb62e8ab5bfa8d0fe45c1074fa398b089c93a7e70c15cfd6", "gemma"},
    {"dcaee66df77bfbb789ec541fe713218da30225a526f1db97138fc39ee6dc56aa", "phi-3"},
    {"78d976a442bcde2f0be15aafbb8e3050e1104f86732266f68403251b89982a90", "phi-3"},
    {"107f446a0c69ad81516797efae2998f51b1c8e3ea6e74253dcaff6629306bfc7", "phi-3"},
};

// chat_template of tokenizer_config.json: a text, or a list of named ones of which "default" counts.
std::optional<std::string> from_config(const std::filesystem::path& file) {
  const Json config = read_json_file(file);
  Json found = config.is_object() ? config.value("chat_template", Json()) : Json();
  if (found.is_array())
    for (const Json& one : Json(std::move(found)))
      if (one.is_object() && one.value("name", Json()) == "default") found = one.value("template", Json());
  if (found.is_null()) return std::nullopt;
  if (!found.is_string()) fail<CheckpointError>("chat", file.string(), ": wanted chat_template to be a text, or a list with one named default");
  return found.get<std::string>();
}

}  // namespace

std::optional<std::string> find_chat_template(const std::filesystem::path& model) {
  namespace fs = std::filesystem;
  constexpr std::size_t kMost = std::size_t{1} << 20;
  if (!fs::is_directory(model)) {
    const GgufFile file(model);
    if (!file.has("tokenizer.chat_template")) return std::nullopt;
    return file.get_string("tokenizer.chat_template");
  }
  if (fs::is_regular_file(model / "chat_template.jinja")) return read_text_file(model / "chat_template.jinja", kMost);
  if (fs::is_regular_file(model / "tokenizer_config.json")) return from_config(model / "tokenizer_config.json");
  return std::nullopt;
}

std::string chat_template_hash(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (!(text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n')) plain += text[i];
  plain.erase(plain.find_last_not_of('\n') + 1);
  return sha256_hex(plain);
}

ChatChoice choose_chat_template(const std::filesystem::path& model, const std::string& asked) {
  const std::optional<std::string> own = find_chat_template(model);
  const std::string hash = own ? chat_template_hash(*own) : "", names = join(chat_template_names());
  if (asked != "auto") {
    const std::vector<std::string>& known = chat_template_names();
    if (std::find(known.begin(), known.end(), asked) == known.end()) fail<ConfigError>("chat", "unknown chat template '", asked, "'", known_names_hint(asked, known));
    return {asked, hash};
  }
  if (!own) fail<ConfigError>("chat", model.string(), " has no chat template of its own; choose one with --template: ", names);
  for (const KnownTemplate& one : kKnown)
    if (hash == one.sha256) return {one.name, hash};
  fail<ConfigError>("chat", "the chat template of ", model.string(), " (sha256 ", hash, ") is not one that is known, and none is ever run as code; choose one with --template: ", names);
}

}  // namespace mla
