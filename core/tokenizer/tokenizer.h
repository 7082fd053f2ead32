// BPE over bytes or over characters, from a GGUF vocabulary or a tokenizer.json.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/tokenizer/added_tokens.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/tokenizer_data.h"

namespace mla {

struct EncodeOptions {
  bool parse_special = false;  // match special tokens such as <|im_end|> in the text; otherwise they are plain text
  bool add_special = false;    // put the ids around that the tokenizer puts there by itself (Llama's BOS); none of SmolLM2's
};

class Tokenizer {
 public:
  // A GGUF file, a tokenizer.json, or a folder that holds one. Throws CheckpointError naming file and field.
  static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& model);
  // Throws CheckpointError: a merge whose parts or result are not in the vocabulary, a token twice, an added token that is
  // not UTF-8, another that is not written as its vocabulary's kind is.
  Tokenizer(TokenizerData data, const std::string& where);
  Tokenizer(Tokenizer&&) = default;
  Tokenizer(const Tokenizer&) = delete;  // tables hold views of its texts

  // Ill-formed UTF-8 is read as U+FFFD. Added tokens that are not special are always matched.
  std::vector<int32_t> encode(std::string_view utf8, const EncodeOptions& options = {}) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;
  // Raw bytes of one token, which may end inside a character; blanks as blanks. Throws ShapeError for an id outside the vocabulary.
  const std::string& piece(int32_t id) const;
  // The id of a token by its text in the vocabulary; -1 where there is none.
  int32_t id_of(const std::string& token) const;
  int64_t vocab_size() const { return static_cast<int64_t>(pieces_.size()); }
  int32_t bos_id() const { return data_.bos_id; }
  int32_t eos_id() const { return data_.eos_id; }
  // Where a generation ends: EOS and what generation_config.json adds; empty where neither is known.
  const std::vector<int32_t>& stop_ids() const { return data_.stop_ids; }
  bool is_special(int32_t id) const { return data_.special[index(id)]; }  // throws as piece() does
  bool adds_bos() const { return !data_.before.empty() && data_.before.front() == data_.bos_id; }
  const TokenizerData& data() const { return data_; }
  std::string sha256() const;       // of to_tokenizer_json()
  Json to_tokenizer_json() const { return tokenizer_to_json(data_); }

 private:
  class Encoding;  // one call of encode()
  std::size_t index(int32_t id) const;
  void place_tokens(const std::string& where, std::unordered_map<std::string_view, int32_t>& ids);
  void place_bytes(const std::string& where, const std::unordered_map<std::string_view, int32_t>& ids);
  std::string decode_characters(std::span<const int32_t> ids, bool skip_special) const;
  TokenizerData data_;
  BpeTable table_;
  AddedTokens raw_, normalized_;
  std::vector<std::string> pieces_;
  std::unordered_map<std::string_view, int32_t> whole_;  // pieces that are tokens, with ignore_merges
  std::vector<int32_t> byte_of_;                         // by id, of characters: the byte that <0xNN> means, else -1
};

}  // namespace mla
