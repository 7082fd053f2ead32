// GGUF's two vocabularies: "gpt2" (byte-level BPE with merges) and "llama" (SentencePiece's BPE with scores). Untrusted.
#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/checkpoint/gguf_file.h"
#include "core/tokenizer/normalizer.h"
#include "core/tokenizer/tokenizer_parts.h"

namespace mla {
namespace {

// llama.cpp's token types (LLAMA_TOKEN_TYPE_*).
enum TokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct NamedPretokenizer {
  const char* name;
  Pretokenizer pretokenizer;
  bool nfc, ignore_merges;  // as the families' own tokenizer.json has it
};
constexpr NamedPretokenizer kPretokenizers[] = {
    {"gpt-2", Pretokenizer::gpt2, false, false},     {"smollm", Pretokenizer::smollm, false, false},
    {"llama-bpe", Pretokenizer::llama3, false, true}, {"llama3", Pretokenizer::llama3, false, true},
    {"llama-v3", Pretokenizer::llama3, false, true},  {"qwen2", Pretokenizer::qwen2, true, false}};

class GgufVocabulary {
 public:
  explicit GgufVocabulary(const std::filesystem::path& path) : file_(path), where_(path.string()) {}

  TokenizerData read() {
    data_.tokens = file_.get_strings("tokenizer.ggml.tokens");
    const std::size_t count = data_.tokens.size();
    if (count > kMaxVocabulary) bad("wanted at most 2^21 tokens, got ", count);
    types_.assign(count, kNormal);
    if (file_.has("tokenizer.ggml.token_type")) types_ = file_.get_ints("tokenizer.ggml.token_type");
    if (types_.size() != count) bad("wanted a token_type for each of ", count, " tokens, got ", types_.size());
    data_.bos_id = id("bos_token_id");
    data_.eos_id = id("eos_token_id");
    const std::string& model = file_.get_string("tokenizer.ggml.model");
    if (model == "gpt2") read_bytes();
    else if (model == "llama") read_characters();
    else bad("wanted tokenizer.ggml.model gpt2 or llama, got ", model);
    data_.special.assign(count, false);
    for (std::size_t i = 0; i < count; ++i) {
      data_.special[i] = types_[i] == kControl || types_[i] == kUnknown;
      if (types_[i] == kUserDefined) data_.added.push_back({.id = static_cast<int32_t>(i), .special = false});
    }
    return std::move(data_);
  }

 private:
  template <class... Text>
  [[noreturn]] void bad(const Text&... text) const {
    fail<CheckpointError>("tokenizer", where_, ": ", text...);
  }

  int32_t id(const std::string& name) const {
    const std::string key = "tokenizer.ggml." + name;
    if (!file_.has(key)) return -1;
    const uint64_t value = file_.get_uint(key);
    if (value >= data_.tokens.size()) bad(key, " is not in the vocabulary: ", value);
    return static_cast<int32_t>(value);
  }

  bool flag(const std::string& name, bool fallback) const {
    const std::string key = "tokenizer.ggml." + name;
    return file_.has(key) ? file_.get_bool(key) : fallback;
  }

  void surround(bool bos) {
    if (flag("add_bos_token", bos) && data_.bos_id >= 0) data_.before = {data_.bos_id};
    if (flag("add_eos_token", false) && data_.eos_id >= 0) data_.after = {data_.eos_id};
  }

  void read_bytes() {
    const std::string pre = file_.has("tokenizer.ggml.pre") ? file_.get_string("tokenizer.ggml.pre") : "gpt-2";
    const auto known = std::find_if(std::begin(kPretokenizers), std::end(kPretokenizers), [&](const NamedPretokenizer& one) { return pre == one.name; });
    if (known == std::end(kPretokenizers)) {
      std::vector<std::string> names;
      for (const NamedPretokenizer& one : kPretokenizers) names.emplace_back(one.name);
      bad("tokenizer.ggml.pre ", pre, " is not known; known: ", join(names));
    }
    data_.pretokenizer = known->pretokenizer;
    data_.ignore_merges = known->ignore_merges;
    if (known->nfc) data_.normalizer = {{}};
    for (const std::string& line : file_.get_strings("tokenizer.ggml.merges")) data_.merges.push_back(split_merge(line, where_));
    surround(known->pretokenizer == Pretokenizer::llama3);
  }

  void read_characters() {
    data_.vocabulary = Vocabulary::characters;
    data_.pretokenizer = Pretokenizer::whole;
    data_.strip_blank = flag("add_space_prefix", true);
    if (flag("remove_extra_whitespaces", false)) bad("tokenizer.ggml.remove_extra_whitespaces is not supported");
    if (data_.strip_blank) data_.normalizer.push_back({NormalizerStep::Kind::prepend, "", kBlank});
    data_.normalizer.push_back({NormalizerStep::Kind::replace, " ", kBlank});
    read_scores();
    surround(true);
  }

  // SentencePiece joins the two neighbours whose union has the highest score. As merges by rank: every cut of every token into two
  // tokens, best score first, then the longer left part, as the library's own converter orders them.
  void read_scores() {
    const std::vector<double>& scores = file_.get_floats("tokenizer.ggml.scores");
    if (scores.size() != data_.tokens.size()) bad("wanted a score for each of ", data_.tokens.size(), " tokens, got ", scores.size());
    constexpr std::size_t kLongest = 512;  // bytes; a cut is tried after each character
    std::unordered_map<std::string_view, int32_t> ids;
    for (std::size_t i = 0; i < data_.tokens.size(); ++i)
      if (types_[i] == kNormal || types_[i] == kUserDefined) ids.emplace(data_.tokens[i], static_cast<int32_t>(i));
    struct Cut {
      double score;
      std::size_t left, right;  // characters
      std::string_view first, second;
    };
    std::vector<Cut> cuts;
    for (const auto& [text, id] : ids) {
      if (text.size() > kLongest) bad("token ", id, " is longer than ", kLongest, " bytes");
      const auto length = static_cast<std::size_t>(std::count_if(text.begin(), text.end(), is_first_byte));
      for (std::size_t at = 1, left = 0; at < text.size(); ++at) {
        if (!is_first_byte(text[at])) continue;
        ++left;
        const auto first = ids.find(text.substr(0, at)), second = ids.find(text.substr(at));
        if (first != ids.end() && second != ids.end())
          cuts.push_back({scores[static_cast<std::size_t>(id)], left, length - left, first->first, second->first});
      }
    }
    std::sort(cuts.begin(), cuts.end(), [&](const Cut& a, const Cut& b) {
      if (a.score != b.score) return a.score > b.score;
      if (a.left != b.left) return a.left > b.left;
      if (a.right != b.right) return a.right > b.right;
      return std::pair(ids.at(a.first), ids.at(a.second)) < std::pair(ids.at(b.first), ids.at(b.second));
    });
    for (const Cut& cut : cuts) data_.merges.emplace_back(cut.first, cut.second);
  }

  static bool is_first_byte(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) != 0x80; }

  const GgufFile file_;
  const std::string where_;
  TokenizerData data_;
  std::vector<int64_t> types_;
};

}  // namespace

TokenizerData tokenizer_from_gguf(const std::filesystem::path& path) { return GgufVocabulary(path).read(); }

}  // namespace mla
