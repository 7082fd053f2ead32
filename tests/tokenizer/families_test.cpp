// Each family's components over two small vocabularies: ids and decoded texts are those of the package `tokenizers`
// (tests/oracle/tokenizer_families.py; the same script compares 100,000 strings of five kinds with larger vocabularies).
#include <unicode/utf8.h>

#include <cstring>

#include "core/base/json.h"
#include "core/base/sha256.h"
#include "core/tokenizer/tokenizer.h"
#include "tests/checkpoint/sample_files.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"
#include "tests/tokenizer/splitmix64.h"

using namespace mla;
using namespace mla::test;

namespace {

const Json& goldens() {
  static const Json json = read_json_file(golden("tokenizer_families.json"));
  return json;
}

Json file_of(const std::string& name) {
  const Json& family = goldens()["families"][name];
  Json json = family["parts"];
  const Json& vocabulary = goldens()[family["vocabulary"].get<std::string>()];
  json["model"]["vocab"] = vocabulary["vocab"];
  json["model"]["merges"] = vocabulary["merges"];
  return json;
}

Tokenizer tokenizer_of(const std::string& name) { return Tokenizer(tokenizer_from_json(file_of(name), name), name); }

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& item : goldens()["families"].items()) all.push_back(item.key());
  return all;
}

// A character of any assigned range, as the oracle draws it.
void append_character(SplitMix64& random, const Json& ranges, uint64_t total, std::string& text) {
  auto at = static_cast<int64_t>(random.next() % total);
  for (const Json& range : ranges) {
    const int64_t begin = range[0], size = range[1].get<int64_t>() - begin + 1;
    if (at < size) {
      char buffer[4];
      int32_t length = 0;
      U8_APPEND_UNSAFE(buffer, length, static_cast<UChar32>(begin + at));
      text.append(buffer, static_cast<std::size_t>(length));
      return;
    }
    at -= size;
  }
}

const std::vector<std::string>& strings() {
  static const std::vector<std::string> all = [] {
    const Json ranges = read_json_file(golden("tokenizer.json"))["random"]["assigned_ranges"];
    const std::vector<std::string> snippets = goldens()["snippets"];
    uint64_t total = 0;
    for (const Json& range : ranges) total += range[1].get<uint64_t>() - range[0].get<uint64_t>() + 1;
    SplitMix64 random(goldens()["seed"].get<uint64_t>());
    std::vector<std::string> made(goldens()["strings"].get<std::size_t>());
    for (std::string& text : made) {
      const uint64_t parts = 1 + random.next() % 12;
      for (uint64_t part = 0; part < parts; ++part) {
        if (random.next() % 4 != 0) {
          text += snippets[random.next() % snippets.size()];
          continue;
        }
        const uint64_t size = 1 + random.next() % 4;
        for (uint64_t i = 0; i < size; ++i) append_character(random, ranges, total, text);
      }
    }
    return made;
  }();
  return all;
}

constexpr EncodeOptions kAsTheLibrary{.parse_special = true, .add_special = true};

std::string digest_of(const Tokenizer& tokenizer, std::size_t begin, std::size_t end) {
  std::string bytes;
  for (std::size_t i = begin; i < end; ++i) {
    const std::vector<int32_t> ids = tokenizer.encode(strings()[i], kAsTheLibrary);
    bytes.append(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)).append(tokenizer.decode(ids, false)).append("\n");
  }
  return sha256_hex(bytes).substr(0, 16);
}

}  // namespace

TEST_CASE("every family's tokenizer.json gives the ids and the decoded text of the oracle on 4,000 strings", "[tokenizer][golden]") {
  REQUIRE(names().size() >= 11);
  for (const std::string& name : names()) {
    const Tokenizer tokenizer = tokenizer_of(name);
    const Json& blocks = goldens()["families"][name]["blocks_of_500"];
    for (std::size_t block = 0; block < blocks.size(); ++block) {
      INFO(name << ", strings " << 500 * block << " to " << 500 * block + 499);
      CHECK(digest_of(tokenizer, 500 * block, 500 * block + 500) == blocks[block].get<std::string>());
    }
  }
}

TEST_CASE("every family's tokenizer.json comes back from our writer with the same ids and the same hash", "[tokenizer]") {
  for (const std::string& name : names()) {
    const Tokenizer tokenizer = tokenizer_of(name);
    const Tokenizer again(tokenizer_from_json(tokenizer.to_tokenizer_json(), name), name);
    INFO(name);
    CHECK(again.sha256() == tokenizer.sha256());
    CHECK(digest_of(again, 0, 500) == goldens()["families"][name]["blocks_of_500"][0].get<std::string>());
  }
}

TEST_CASE("decoding what was encoded gives the text back where a family changes nothing in it", "[tokenizer]") {
  for (const std::string name : {"gpt2", "smollm", "llama-3", "llama-2", "gemma"}) {
    const Tokenizer tokenizer = tokenizer_of(name);
    for (std::size_t i = 0; i < 1000; ++i) {
      std::string text = strings()[i];
      if (text.find("\u2581") != std::string::npos) continue;  // a blank of the vocabularies of characters
      if (text.find("<0x41>") != std::string::npos) continue;  // a byte's name may be read as the byte
      INFO(name << ": " << text);
      CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
    }
  }
}

TEST_CASE("a GGUF vocabulary with scores gives the ids of the tokenizer.json that its merges make", "[tokenizer]") {
  const Json& vocab = goldens()["characters"]["vocab"];
  std::vector<std::string> tokens(vocab.size());
  for (const auto& item : vocab.items()) tokens[item.value().get<std::size_t>()] = item.key();
  std::string texts, scores, types;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool byte = tokens[i].starts_with("<0x");
    texts += gguf_text(tokens[i]);
    scores += raw(goldens()["scores"][i].get<float>());
    types += raw<int32_t>(i == 0 ? 2 : i < 3 ? 3 : byte ? 6 : 1);
  }
  namespace value = mla::test::gguf;
  const GgufSample sample{.keys = {gguf_key("tokenizer.ggml.model", value::text, gguf_text("llama")), gguf_array("tokenizer.ggml.tokens", value::text, tokens.size(), texts),
                                   gguf_array("tokenizer.ggml.scores", value::f32, tokens.size(), scores), gguf_array("tokenizer.ggml.token_type", value::i32, tokens.size(), types),
                                   gguf_key("tokenizer.ggml.bos_token_id", value::u32, raw<uint32_t>(1)), gguf_key("tokenizer.ggml.eos_token_id", value::u32, raw<uint32_t>(2))}};
  const TemporaryFolder folder;
  write_bytes(folder / "m.gguf", sample.bytes());
  const auto tokenizer = Tokenizer::load(folder / "m.gguf");

  const Json& blocks = goldens()["families"]["llama-2"]["blocks_of_500"];
  for (std::size_t block = 0; block < blocks.size(); ++block) CHECK(digest_of(*tokenizer, 500 * block, 500 * block + 500) == blocks[block].get<std::string>());
  CHECK(tokenizer->eos_id() == 2);
}

TEST_CASE("a blank at the front is the vocabulary's own for each piece of text of Llama-2, and for the first alone of Mistral", "[tokenizer]") {
  const auto text_of = [](const std::string& name, const std::string& text) {
    const Tokenizer tokenizer = tokenizer_of(name);
    std::string all;
    for (const int32_t id : tokenizer.encode(text, {.parse_special = true})) all += tokenizer.piece(id);
    return all;
  };
  CHECK(text_of("llama-2", "a</s>b") == " a</s> b");
  CHECK(text_of("mistral-3", "a</s>b") == " a</s>b");
  CHECK(text_of("mistral-3", " a") == " a");
  CHECK(text_of("llama-2", " a") == "  a");
  CHECK(text_of("gemma", "a</s>b") == "a</s>b");
}

TEST_CASE("added tokens that are not special are matched even in plain text", "[tokenizer]") {
  const Tokenizer tokenizer = tokenizer_of("qwen2");
  const std::vector<int32_t> plain = tokenizer.encode("<think>x<|im_end|>");
  CHECK(plain.front() == tokenizer.id_of("<think>"));
  CHECK(std::find(plain.begin(), plain.end(), tokenizer.id_of("<|im_end|>")) == plain.end());
  CHECK(tokenizer.decode(plain) == "<think>x<|im_end|>");
}

TEST_CASE("a run of byte tokens that is no UTF-8 decodes to one replacement character for each byte", "[tokenizer]") {
  const Tokenizer tokenizer = tokenizer_of("gemma");
  const int32_t first = tokenizer.id_of("<0xE2>"), second = tokenizer.id_of("<0x82>"), third = tokenizer.id_of("<0xAC>");
  CHECK(tokenizer.decode(std::vector<int32_t>{first, second, third}) == "\u20ac");
  CHECK(tokenizer.decode(std::vector<int32_t>{first, second}) == "\uFFFD\uFFFD");
}

TEST_CASE("only a tokenizer that puts BOS in front says so", "[tokenizer]") {
  const Tokenizer llama = tokenizer_of("llama-3"), qwen = tokenizer_of("qwen2");
  CHECK(llama.encode("x", {.add_special = true}).size() == llama.encode("x").size() + 1);
  CHECK(qwen.encode("x", {.add_special = true}) == qwen.encode("x"));
}
