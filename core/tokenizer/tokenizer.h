// Byte-level BPE from a GGUF vocabulary or a tokenizer.json.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/json.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/splitter.h"

namespace mla {

struct EncodeOptions {
  bool parse_special = false;  // match special tokens such as <|im_end|> in the text; otherwise they are plain text
};

// What both file formats hold, before it is checked.
struct TokenizerData {
  std::vector<std::string> tokens;  // by id; normal tokens in GPT-2's byte alphabet, special ones as they are written
  std::vector<bool> special;        // by id
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  Pretokenizer pretokenizer = Pretokenizer::gpt2;
  int32_t bos_id = -1, eos_id = -1;
};

class Tokenizer {
 public:
  // A GGUF file, a tokenizer.json, or a folder that holds one. Throws CheckpointError naming file and field.
  static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& model);
  // Throws CheckpointError: a merge whose parts or result are not in the vocabulary, a token twice, a special token that is
  // not UTF-8, another that is not in the byte alphabet.
  Tokenizer(TokenizerData data, const std::string& where);

  // Adds no special tokens. Ill-formed UTF-8 is read as U+FFFD.
  std::vector<int32_t> encode(std::string_view utf8, const EncodeOptions& options = {}) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;
  // Raw bytes of one token, which may end inside a character. Throws ShapeError for an id outside the vocabulary.
  const std::string& piece(int32_t id) const;
  int64_t vocab_size() const { return static_cast<int64_t>(pieces_.size()); }
  int32_t bos_id() const { return data_.bos_id; }
  int32_t eos_id() const { return data_.eos_id; }
  bool is_special(int32_t id) const { return data_.special[index(id)]; }  // throws as piece() does
  std::string sha256() const;       // over vocabulary, merges and pre-tokenizer
  Json to_tokenizer_json() const;   // a Hugging Face tokenizer.json that gives the same ids

 private:
  std::size_t index(int32_t id) const;
  void encode_plain(std::string_view text, std::unordered_map<std::string_view, std::vector<int32_t>>& known,
                    std::vector<int32_t>& ids) const;
  TokenizerData data_;
  BpeTable table_;
  std::vector<std::string> pieces_;
  std::vector<int32_t> special_ids_;
};

TokenizerData tokenizer_from_gguf(const std::filesystem::path& path);
TokenizerData tokenizer_from_json(const Json& json, const std::string& where);

}  // namespace mla
