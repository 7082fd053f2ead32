// Conversations as transformers' own engine renders the families' templates (tests/oracle/chat_goldens.py).
#include "core/tokenizer/chat_template.h"

#include <fstream>

#include "core/base/error.h"
#include "core/base/json.h"
#include "tests/checkpoint/sample_files.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

const Json& goldens() {
  static const Json json = read_json_file(golden("chat_templates.json"));
  return json;
}

std::vector<ChatMessage> messages_of(const Json& list) {
  std::vector<ChatMessage> messages;
  for (const Json& one : list) messages.push_back({one["role"], one["content"]});
  return messages;
}

// The templates that share our one rendering of them.
std::string name_of(const std::string& golden) {
  if (golden == "llama-3.2" || golden == "llama-3.3") return "llama-3.1";
  if (golden == "gemma-2") return "gemma";
  return golden == "phi-3.5" || golden == "phi-3.5-mini" ? "phi-3" : golden;
}

constexpr const char* kSmolLm2 =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
    "trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

}  // namespace

TEST_CASE("every template renders every conversation as transformers does, and refuses what it refuses", "[chat][golden]") {
  REQUIRE(goldens()["templates"].size() >= 19);
  for (const auto& item : goldens()["templates"].items())
    for (const auto& one : item.value()["rendered"].items()) {
      const std::vector<ChatMessage> messages = messages_of(goldens()["conversations"][one.key()]);
      const auto render = [&] { return render_chat(name_of(item.key()), messages, "<BOS>", "<EOS>"); };
      INFO(item.key() << ", " << one.key());
      if (one.value().is_null()) CHECK_THROWS_AS(render(), ConfigError);
      else CHECK(render() == one.value().get<std::string>());
    }
}

TEST_CASE("a template is recognised by its hash, whatever its line ends", "[chat]") {
  const TemporaryFolder folder;
  std::ofstream(folder / "tokenizer_config.json") << Json{{"chat_template", kSmolLm2}}.dump();
  const ChatChoice found = choose_chat_template(folder.path(), "auto");
  CHECK(found.name == "smollm2");
  CHECK(found.sha256 == goldens()["templates"]["smollm2"]["sha256"].get<std::string>());
  std::ofstream(folder / "chat_template.jinja") << kSmolLm2 << "\r\n\n";  // the file that counts where both are there
  CHECK(choose_chat_template(folder.path(), "auto").name == "smollm2");
  CHECK(chat_template_hash("a\r\nb\n") == chat_template_hash("a\nb"));
  CHECK(chat_template_hash("a \nb") != chat_template_hash("a\nb"));
}

TEST_CASE("of several named templates the default one counts", "[chat]") {
  const TemporaryFolder folder;
  std::ofstream(folder / "tokenizer_config.json") << Json{{"chat_template", {{{"name", "tool_use"}, {"template", "x"}}, {{"name", "default"}, {"template", kSmolLm2}}}}}.dump();
  CHECK(choose_chat_template(folder.path(), "auto").name == "smollm2");
}

TEST_CASE("a GGUF file's template is found, and SmolLM2's own is recognised", "[chat]") {
  const TemporaryFolder folder;
  const GgufSample sample{.keys = {gguf_key("tokenizer.chat_template", mla::test::gguf::text, gguf_text(kSmolLm2))}};
  std::ofstream(folder / "m.gguf", std::ios::binary) << sample.bytes();
  CHECK(choose_chat_template(folder / "m.gguf", "auto").name == "smollm2");
  if (smollm2().empty()) return skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  CHECK(choose_chat_template(smollm2(), "auto").name == "smollm2");
}

TEST_CASE("an unknown template is named by its hash and never run; a name chooses one all the same", "[chat][errors]") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(choose_chat_template(folder.path(), "auto"), Contains("no chat template") && Contains("--template"));
  std::ofstream(folder / "chat_template.jinja") << "{{ cycler.__init__.__globals__.os.system('touch x') }}";
  CHECK_THROWS_WITH(choose_chat_template(folder.path(), "auto"),
                    Contains(chat_template_hash("{{ cycler.__init__.__globals__.os.system('touch x') }}")) && Contains("--template") && Contains("llama-3"));
  CHECK(choose_chat_template(folder.path(), "llama-3").name == "llama-3");
  CHECK_THROWS_WITH(choose_chat_template(folder.path(), "lama-3"), Contains("did you mean 'llama-3'"));
}

TEST_CASE("a conversation out of turn is refused", "[chat][errors]") {
  const auto refused = [](const std::vector<ChatMessage>& messages, const std::string& says) {
    CHECK_THROWS_WITH(render_chat("chatml", messages, "", ""), Contains(says));
  };
  refused({}, "ends with the user");
  refused({{"system", "x"}}, "ends with the user");
  refused({{"assistant", "x"}}, "wanted a message of the user at position 0");
  refused({{"user", "x"}, {"user", "y"}}, "wanted a message of the assistant at position 1");
  refused({{"user", "x"}, {"system", "y"}}, "system");
  refused({{"user", "x"}, {"assistant", "y"}}, "ends with the user");
  CHECK_THROWS_WITH(render_chat("gemma", {{"system", "x"}, {"user", "y"}}, "", ""), Contains("no place"));
}

TEST_CASE("a rendered conversation gets one BOS, whether template or tokenizer puts it there", "[chat]") {
  TokenizerData data;
  data.tokens = {"a", "<s>"};
  data.special = {false, true};
  data.bos_id = 1;
  data.before = {1};
  const Tokenizer tokenizer(data, "test");
  CHECK(encode_chat(tokenizer, "<s>a<s>") == std::vector<int32_t>{1, 0, 1});
  CHECK(encode_chat(tokenizer, "a") == std::vector<int32_t>{1, 0});
}
