// Token ids equal those of the package `tokenizers` on SmolLM2's vocabulary (tests/oracle/tokenizer_goldens.py).
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <sstream>

#include "core/base/json.h"
#include "core/base/sha256.h"
#include "core/tokenizer/tokenizer.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"
#include "tests/tokenizer/splitmix64.h"

using namespace mla;
using namespace mla::test;

namespace {

// Null, with the reason printed, where the model was not fetched.
std::shared_ptr<const Tokenizer> real_tokenizer() {
  static const std::shared_ptr<const Tokenizer> tokenizer = smollm2().empty() ? nullptr : Tokenizer::load(smollm2());
  if (!tokenizer) skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  return tokenizer;
}

const Json& goldens() {
  static const Json json = read_json_file(golden("tokenizer.json"));
  return json;
}

std::string bytes_of(const std::vector<int32_t>& ids) {
  std::string bytes(ids.size() * 4, '\0');
  std::memcpy(bytes.data(), ids.data(), bytes.size());
  return bytes;
}

// Of Unicode 15, without surrogates and private use. A later Unicode assigns more, but moves none of these to another class.
std::vector<UChar32> assigned_points() {
  std::vector<UChar32> points;
  for (const Json& range : goldens()["random"]["assigned_ranges"])
    for (UChar32 c = range[0]; c <= range[1].get<UChar32>(); ++c) points.push_back(c);
  return points;
}

// Which bytes have a token of their own.
std::array<bool, 256> bytes_with_token(const Tokenizer& tokenizer) {
  std::array<bool, 256> has{};
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    if (const std::string& piece = tokenizer.piece(id); piece.size() == 1 && !tokenizer.is_special(id)) has[static_cast<uint8_t>(piece[0])] = true;
  return has;
}

std::string random_text(SplitMix64& random, const std::vector<UChar32>& points) {
  const uint64_t size = 1 + random.next() % 24;
  std::string text;
  for (uint64_t i = 0; i < size; ++i) {
    char buffer[4];
    int32_t length = 0;
    U8_APPEND_UNSAFE(buffer, length, points[random.next() % points.size()]);
    text.append(buffer, static_cast<std::size_t>(length));
  }
  return text;
}

}  // namespace

TEST_CASE("all of WikiText-2 test gives the ids of the oracle", "[tokenizer][golden]") {
  const auto tokenizer = real_tokenizer();
  if (!tokenizer) return;
  if (wikitext2("test.txt").empty()) return skip("WikiText-2 is not in the data root");
  std::ostringstream text;
  text << std::ifstream(wikitext2("test.txt"), std::ios::binary).rdbuf();
  const std::vector<int32_t> ids = tokenizer->encode(text.str());
  const Json& golden = goldens()["wikitext2_test"];
  CHECK(ids.size() == golden["tokens"].get<std::size_t>());
  CHECK(sha256_hex(bytes_of(ids)) == golden["sha256"].get<std::string>());
  CHECK(tokenizer->decode(ids) == text.str());
}

TEST_CASE("lines of code and of many languages give the ids of the oracle", "[tokenizer][golden]") {
  const auto tokenizer = real_tokenizer();
  if (!tokenizer) return;
  REQUIRE(goldens()["lines"].size() >= 40);
  for (const Json& line : goldens()["lines"]) {
    const std::string text = line["text"];
    INFO(text);
    CHECK(tokenizer->encode(text) == line["ids"].get<std::vector<int32_t>>());
  }
}

TEST_CASE("ten thousand strings of random assigned code points give the ids of the oracle", "[tokenizer][golden]") {
  const auto tokenizer = real_tokenizer();
  if (!tokenizer) return;
  const std::vector<UChar32> points = assigned_points();
  const Json& golden = goldens()["random"];
  REQUIRE(points.size() == golden["assigned_points"].get<std::size_t>());
  SplitMix64 random(15);
  std::string all;
  for (std::size_t block = 0; block < 100; ++block) {
    std::string bytes;
    for (int i = 0; i < 100; ++i) bytes += bytes_of(tokenizer->encode(random_text(random, points)));
    INFO("strings " << block * 100 << " to " << block * 100 + 99);
    CHECK(sha256_hex(bytes).substr(0, 8) == golden["blocks_of_100"][block].get<std::string>());
    all += bytes;
  }
  CHECK(sha256_hex(all) == golden["sha256"].get<std::string>());
}

TEST_CASE("SmolLM2 lacks tokens for 21 bytes: six control characters and what assigned characters never need", "[tokenizer]") {
  const auto tokenizer = real_tokenizer();
  if (!tokenizer) return;
  const std::array<bool, 256> has = bytes_with_token(*tokenizer);
  std::string missing;
  for (std::size_t byte = 0; byte < 256; ++byte)
    if (!has[byte]) missing += static_cast<char>(byte);
  CHECK(missing == "\x04\x06\x13\x14\x16\x1d\xc0\xc1\xf1\xf2\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff");
  CHECK(tokenizer->encode(missing.substr(0, 6)).empty());
}

TEST_CASE("decoding undoes encoding, but for bytes without a token", "[tokenizer]") {
  const auto tokenizer = real_tokenizer();
  if (!tokenizer) return;
  const std::array<bool, 256> has = bytes_with_token(*tokenizer);
  std::vector<std::string> texts;
  for (const Json& line : goldens()["lines"]) texts.push_back(line["text"]);
  SplitMix64 random(16);
  const std::vector<UChar32> points = assigned_points();
  for (int i = 0; i < 1000; ++i) texts.push_back(random_text(random, points));
  for (const std::string& text : texts) {
    std::string kept;
    std::copy_if(text.begin(), text.end(), std::back_inserter(kept), [&](char byte) { return has[static_cast<uint8_t>(byte)]; });
    INFO(text);
    CHECK(tokenizer->decode(tokenizer->encode(text)) == sanitize_utf8(kept));
  }
}

TEST_CASE("ill-formed UTF-8 is encoded as the replacement character", "[tokenizer]") {
  const auto tokenizer = real_tokenizer();
  if (!tokenizer) return;
  CHECK(tokenizer->encode("cut \xE2\x82 and \xFF stray") == tokenizer->encode("cut \uFFFD and \uFFFD stray"));
  CHECK(tokenizer->decode(tokenizer->encode("\x80x")) == "\uFFFDx");
}

TEST_CASE("special tokens are matched only when that is asked for", "[tokenizer]") {
  const auto tokenizer = real_tokenizer();
  if (!tokenizer) return;
  const std::string text = "<|im_start|>user<|im_end|>";
  const std::vector<int32_t> plain = tokenizer->encode(text), parsed = tokenizer->encode(text, {.parse_special = true});
  CHECK(std::none_of(plain.begin(), plain.end(), [&](int32_t id) { return tokenizer->is_special(id); }));
  CHECK(tokenizer->decode(plain) == text);
  REQUIRE(parsed.size() == 3);
  CHECK(parsed.back() == tokenizer->eos_id());
  CHECK(tokenizer->decode(parsed) == "user");
  CHECK(tokenizer->decode(parsed, false) == text);
}

TEST_CASE("a text of many special tokens is read once, not once for each", "[tokenizer]") {
  const auto tokenizer = real_tokenizer();
  if (!tokenizer) return;
  std::string text;
  for (int i = 0; i < 40000; ++i) text += "<|im_end|>a";  // a quadratic search takes more than a minute
  const std::vector<int32_t> ids = tokenizer->encode(text, {.parse_special = true});
  CHECK(ids.size() == 80000);
  CHECK(tokenizer->decode(ids, false) == text);
}

TEST_CASE("a word of a million letters is encoded, and comes back", "[tokenizer]") {
  const auto tokenizer = real_tokenizer();
  if (!tokenizer) return;
  const std::string word(1 << 20, 'a');
  const std::vector<int32_t> ids = tokenizer->encode(word);
  CHECK(ids.size() < word.size() / 2);
  CHECK(tokenizer->decode(ids) == word);
}

TEST_CASE("the tokenizer.json that we write gives the same ids", "[tokenizer]") {
  const auto tokenizer = real_tokenizer();
  if (!tokenizer) return;
  const TemporaryFolder folder;
  std::ofstream(folder / "tokenizer.json") << tokenizer->to_tokenizer_json().dump();
  std::ofstream(folder / "tokenizer_config.json") << Json{{"bos_token", tokenizer->piece(tokenizer->bos_id())}, {"eos_token", tokenizer->piece(tokenizer->eos_id())}}.dump();
  const auto again = Tokenizer::load(folder.path());
  CHECK(again->sha256() == tokenizer->sha256());
  CHECK(again->eos_id() == tokenizer->eos_id());
  for (const Json& line : goldens()["lines"]) {
    const EncodeOptions special{.parse_special = true};
    const std::string text = line["text"];
    CHECK(again->encode(text) == tokenizer->encode(text));
    CHECK(again->encode(text, special) == tokenizer->encode(text, special));
  }
}
