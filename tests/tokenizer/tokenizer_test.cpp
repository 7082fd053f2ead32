// Behaviour that needs no real vocabulary: byte fallbacks, specials, bad files.
#include <fstream>

#include "core/base/error.h"
#include "core/tokenizer/tokenizer.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

// a b c, "ab", "abc", two special tokens of which one begins the other.
TokenizerData small_data() {
  TokenizerData data;
  data.tokens = {"a", "b", "c", "ab", "abc", "<s>", "<s>x", "\u0120"};
  data.special = {false, false, false, false, false, true, true, false};
  data.merges = {{"a", "b"}, {"ab", "c"}};
  data.eos_id = 5;
  return data;
}

Tokenizer small() { return Tokenizer(small_data(), "test"); }

std::string joined(const std::vector<std::string_view>& pieces) {
  std::string text;
  for (const std::string_view piece : pieces) text += piece;
  return text;
}

Json small_json() { return Json::parse(small().to_tokenizer_json().dump()); }

}  // namespace

TEST_CASE("merges apply in the order of their ranks", "[tokenizer]") {
  const Tokenizer tokenizer = small();
  CHECK(tokenizer.encode("abc") == std::vector<int32_t>{4});
  CHECK(tokenizer.encode("abab") == std::vector<int32_t>{3, 3});
  CHECK(tokenizer.encode("bca") == std::vector<int32_t>{1, 2, 0});
  CHECK(tokenizer.encode("a b") == std::vector<int32_t>{0, 7, 1});
  CHECK(tokenizer.encode("").empty());
}

TEST_CASE("a byte without a token of its own is left out, as the oracle does", "[tokenizer]") {
  CHECK(small().encode("azb") == std::vector<int32_t>{3});  // what stands around it then merges
}

TEST_CASE("the longest special token wins", "[tokenizer]") {
  const Tokenizer tokenizer = small();
  const EncodeOptions special{.parse_special = true};
  CHECK(tokenizer.encode("a<s>xb<s>", special) == std::vector<int32_t>{0, 6, 1, 5});
  CHECK(tokenizer.decode(std::vector<int32_t>{0, 6, 1, 5}, false) == "a<s>xb<s>");
  CHECK(tokenizer.decode(std::vector<int32_t>{0, 6, 1, 5}) == "ab");
}

TEST_CASE("ill-formed UTF-8 becomes the replacement character, part by part", "[tokenizer]") {
  CHECK(sanitize_utf8("ok \xE2\x82\xAC") == "ok \xE2\x82\xAC");
  CHECK(sanitize_utf8("a\xFFz") == "a\xEF\xBF\xBDz");
  CHECK(sanitize_utf8("a\xE2\x82") == "a\xEF\xBF\xBD");                      // cut inside a character: one
  CHECK(sanitize_utf8("\xC0\x80") == "\xEF\xBF\xBD\xEF\xBF\xBD");            // overlong: each byte
  CHECK(sanitize_utf8("\xED\xA0\x80") == "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
}

TEST_CASE("ids that end inside a character decode to the replacement character", "[tokenizer]") {
  TokenizerData data;
  data.tokens = {"\u00e2", "\u0124", "\u00ac"};  // bytes E2 82 AC, the euro sign
  data.special = {false, false, false};
  const Tokenizer tokenizer(data, "test");
  CHECK(tokenizer.encode("\u20ac") == std::vector<int32_t>{0, 1, 2});
  CHECK(tokenizer.piece(1) == "\x82");
  CHECK(tokenizer.decode(std::vector<int32_t>{0, 1, 2}) == "\u20ac");
  CHECK(tokenizer.decode(std::vector<int32_t>{0, 1}) == "\uFFFD");
}

TEST_CASE("pieces cover the text without gaps", "[tokenizer]") {
  for (const std::string text : {"", " ", "a  b\t\nc", "I'll 12 3\u00b2 \u4f60\u597d!?\u00a0 x", "'re'S  'x", "\n\n  ",
                                 "\u00a0\u3000\u0085\u2028x\r\n\t1 ", "e\u0301\U0001f468\u200d\U0001f469 \u0663\u00b2"})
    for (const Pretokenizer kind : {Pretokenizer::gpt2, Pretokenizer::smollm}) CHECK(joined(split_pieces(text, kind)) == text);
}

TEST_CASE("white space before a word leaves its last blank to the word", "[tokenizer]") {
  const auto pieces = split_pieces("a   b  ", Pretokenizer::gpt2);
  CHECK(pieces == std::vector<std::string_view>{"a", "  ", " b", "  "});
  CHECK(split_pieces("x123y", Pretokenizer::gpt2) == std::vector<std::string_view>{"x", "123", "y"});
  CHECK(split_pieces("x123y", Pretokenizer::smollm) == std::vector<std::string_view>{"x", "1", "2", "3", "y"});
  CHECK(split_pieces("we'll WE'LL", Pretokenizer::gpt2) == std::vector<std::string_view>{"we", "'ll", " WE", "'", "LL"});
}

TEST_CASE("a token id outside the vocabulary is refused", "[tokenizer]") {
  const Tokenizer tokenizer = small();
  CHECK_THROWS_AS(tokenizer.piece(-1), ShapeError);
  CHECK_THROWS_AS(tokenizer.piece(8), ShapeError);
  CHECK_THROWS_AS(tokenizer.decode(std::vector<int32_t>{99}, false), ShapeError);
  CHECK_THROWS_AS(tokenizer.decode(std::vector<int32_t>{99}), ShapeError);
  CHECK_THROWS_AS(tokenizer.is_special(-1), ShapeError);
}

TEST_CASE("a vocabulary that contradicts itself is refused by name", "[tokenizer][errors]") {
  const auto refused = [](const TokenizerData& data, const std::string& says) {
    CHECK_THROWS_WITH(Tokenizer(data, "voc.json"), Contains("voc.json") && Contains(says));
    CHECK_THROWS_AS(Tokenizer(data, "voc.json"), CheckpointError);
  };
  TokenizerData twice = small_data(), unknown_part = small_data(), unknown_result = small_data(), alphabet = small_data(), ill_formed = small_data();
  twice.tokens[1] = "a";
  refused(twice, "'a' stands twice");
  unknown_part.merges.push_back({"q", "a"});
  refused(unknown_part, "merge 2");
  unknown_result.merges.push_back({"b", "c"});
  refused(unknown_result, "merge 2");
  alphabet.tokens[2] = " c";
  refused(alphabet, "byte alphabet");
  ill_formed.tokens[5] = "<\xFF>";
  refused(ill_formed, "special token 5 is not UTF-8");
}

TEST_CASE("a tokenizer.json round trip keeps every id", "[tokenizer]") {
  const Tokenizer again(tokenizer_from_json(small_json(), "again"), "again");
  CHECK(again.encode("abcab<s>xcc") == small().encode("abcab<s>xcc"));
  CHECK(again.encode("abc<s>x", {.parse_special = true}) == std::vector<int32_t>{4, 6});
  CHECK(again.to_tokenizer_json() == small().to_tokenizer_json());
  CHECK_FALSE(small_json().contains("mlaforge"));  // the library refuses a file with a key that it does not know
}

TEST_CASE("a tokenizer.json that we cannot follow exactly is refused; file and field are named", "[tokenizer][errors]") {
  const auto refused = [](const std::string& change, const std::string& field) {  // `change` is a JSON merge patch
    Json json = small_json();
    json.merge_patch(Json::parse(change));
    const auto read = [&] { return Tokenizer(tokenizer_from_json(json, "t.json"), "t.json"); };
    INFO(change);
    CHECK_THROWS_AS(read(), CheckpointError);
    CHECK_THROWS_WITH(read(), Contains("t.json") && Contains(field));
  };
  refused("[]", "model");
  refused(R"({"model": null})", "model");
  refused(R"({"model": 3})", "model");
  refused(R"({"model": {"type": "Unigram"}})", "model type");
  refused(R"({"model": {"type": 3}})", "model type");
  refused(R"({"model": {"vocab": null}})", "model.vocab");
  refused(R"({"model": {"vocab": {"a": "zero"}}})", "model.vocab");
  refused(R"({"model": {"vocab": {"a": 1000000}}})", "model.vocab");  // a hole in the ids
  refused(R"({"model": {"vocab": {"a": -1}}})", "model.vocab");
  refused(R"({"model": {"vocab": {"a": 1}}})", "model.vocab");  // the id of "b"
  refused(R"({"model": {"merges": {}}})", "model.merges");
  refused(R"({"model": {"merges": ["nospace"]}})", "merge");
  refused(R"({"model": {"merges": [[1, 2]]}})", "model.merges");
  refused(R"({"model": {"merges": [["a", "q"]]}})", "merge 0 'a' + 'q'");
  refused(R"({"model": {"ignore_merges": "yes"}})", "model.ignore_merges");
  refused(R"({"model": {"byte_fallback": true}, "pre_tokenizer": null})", "decoder");
  refused(R"({"model": {"unk_token": "a"}})", "model.unk_token");
  refused(R"({"model": {"dropout": 0.5}})", "model.dropout");
  refused(R"({"model": {"end_of_word_suffix": "</w>"}})", "model.end_of_word_suffix");
  refused(R"({"normalizer": {"type": "NFKC"}})", "NFKC");
  refused(R"({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}})", "Lowercase");
  refused(R"({"normalizer": {"type": "Replace", "pattern": {"Regex": " +"}, "content": " "}})", "Regex");
  refused(R"({"normalizer": {"type": "Prepend", "prepend": ")" + std::string(65, 'x') + R"("}})", "64 bytes");
  refused(R"({"added_tokens": [{"content": "<s>", "id": 5}, {"content": "<s>", "id": 5}]})", "added token 5 stands twice");
  refused(R"({"decoder": {"type": "WordPiece"}})", "WordPiece");
  refused(R"({"decoder": null})", "decoder");
  refused(R"({"post_processor": {"type": "BertProcessing"}})", "BertProcessing");
  refused(R"({"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]}})", "SpecialToken");
  refused(R"({"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}], "special_tokens": {"x": {"ids": [99]}}}})", "99");
  refused(R"({"added_tokens": [{"content": "<s>", "id": 5, "special": 1}]})", "added_tokens.special");
  refused(R"({"pre_tokenizer": {"add_prefix_space": true}})", "pre_tokenizer");
  refused(R"({"added_tokens": ["<s>"]})", "added_tokens");
  refused(R"({"added_tokens": [{"content": "<s>"}]})", "added_tokens");
  refused(R"({"added_tokens": [{"content": 5, "id": 5}]})", "added_tokens");
  refused(R"({"pre_tokenizer": null})", "pre_tokenizer");
  refused(R"({"pre_tokenizer": {"type": "Whitespace"}})", "pre_tokenizer");
  refused(R"({"pre_tokenizer": {"type": 3}})", "pre_tokenizer");
  refused(R"({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": 4}]}})", "pre_tokenizer");
  refused(R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": false}})", "pre_tokenizer");
  refused(R"({"mlaforge": 3})", "mlaforge.bos_id");
  refused(R"({"mlaforge": {"bos_id": "one"}})", "mlaforge.bos_id");
  refused(R"({"mlaforge": {"eos_id": 8}})", "mlaforge.eos_id");
}

TEST_CASE("a vocabulary of characters without a token for every byte is refused", "[tokenizer][errors]") {
  TokenizerData data;
  data.vocabulary = Vocabulary::characters;
  data.tokens = {"a", "<0x00>"};
  data.special = {false, false};
  CHECK_THROWS_WITH(Tokenizer(data, "voc.json"), Contains("<0x00> to <0xFF>") && Contains("byte 1"));
}

TEST_CASE("a folder's own files name BOS, EOS and every token that ends a generation", "[tokenizer]") {
  const TemporaryFolder folder;
  std::ofstream(folder / "tokenizer.json") << small_json().dump();
  CHECK(Tokenizer::load(folder.path())->eos_id() == -1);
  std::ofstream(folder / "tokenizer_config.json") << R"({"bos_token": null, "eos_token": {"content": "<s>", "lstrip": false}})";
  std::ofstream(folder / "generation_config.json") << R"({"eos_token_id": [5, 6]})";
  std::ofstream(folder / "config.json") << R"({"bos_token_id": 6, "eos_token_id": 5})";
  const auto tokenizer = Tokenizer::load(folder.path());
  CHECK(tokenizer->bos_id() == 6);
  CHECK(tokenizer->eos_id() == 5);
  CHECK(tokenizer->stop_ids() == std::vector<int32_t>{5, 6});
  std::ofstream(folder / "generation_config.json") << R"({"eos_token_id": [5, 99]})";
  CHECK_THROWS_WITH(Tokenizer::load(folder.path()), Contains("generation_config.json") && Contains("eos_token_id"));
}

TEST_CASE("neutral options of a tokenizer.json are no obstacle", "[tokenizer]") {
  Json json = small_json();
  json.merge_patch(Json::parse(R"({"model": {"dropout": 0.0, "continuing_subword_prefix": "", "ignore_merges": false}, "mlaforge": null})"));
  const Tokenizer tokenizer(tokenizer_from_json(json, "t.json"), "t.json");
  CHECK(tokenizer.encode("abc") == std::vector<int32_t>{4});
  CHECK(tokenizer.eos_id() == -1);
}

TEST_CASE("a tokenizer file that is missing, cut or no JSON is named", "[tokenizer][errors]") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(Tokenizer::load(folder.path()), Contains("tokenizer.json"));
  const std::string whole = small_json().dump();
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    std::ofstream(folder / "tokenizer.json") << whole.substr(0, size);
    CHECK_THROWS_AS(Tokenizer::load(folder.path()), CheckpointError);
  }
}
