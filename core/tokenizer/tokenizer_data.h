// What a tokenizer file holds, before it is checked: the same for a tokenizer.json and a GGUF vocabulary.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/base/json.h"
#include "core/tokenizer/splitter.h"

namespace mla {

enum class Vocabulary {
  bytes,       // GPT-2, Llama-3, Qwen2, SmolLM: tokens are written in GPT-2's byte alphabet
  characters,  // Llama-2, Mistral, Gemma, Phi-3: tokens are text with U+2581 for a blank; <0x00> to <0xFF> are bytes
};

// A token that is found in the text before any merge. Its text is the vocabulary's.
struct AddedToken {
  int32_t id = -1;
  bool special = true;                  // plain text unless asked for; left out in decoding
  bool single_word = false;             // only where no word character touches it
  bool lstrip = false, rstrip = false;  // takes the white space before, after it along
  bool normalized = false;              // looked for in the normalised text, itself normalised
};

// One step over the text between added tokens.
struct NormalizerStep {
  enum class Kind { nfc, prepend, replace } kind = Kind::nfc;
  std::string from, to;  // prepend: `to` before a text that is not empty; replace: every `from` by `to`
};

enum class Prefix { never, first, always };  // a U+2581 before a piece of text without one: none, that at the text's begin, every one

struct TokenizerData {
  std::vector<std::string> tokens;  // by id; added ones as they are written
  std::vector<bool> special;        // by id; those without an entry in `added` have no further properties
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  Vocabulary vocabulary = Vocabulary::bytes;
  std::vector<AddedToken> added;
  std::vector<NormalizerStep> normalizer;
  Pretokenizer pretokenizer = Pretokenizer::gpt2;
  bool metaspace = false;           // blanks become U+2581 before pieces are cut
  Prefix prefix = Prefix::never;    // with metaspace
  bool ignore_merges = false;       // a piece that is a token is that token
  bool strip_blank = false;         // decoding drops one blank at the text's begin
  std::vector<int32_t> before, after;  // ids that a tokenizer puts around a text by itself (BOS)
  int32_t bos_id = -1, eos_id = -1;
  std::vector<int32_t> stop_ids;    // where a generation ends beside EOS
};

// Each throws CheckpointError naming file and field for everything that it could not follow exactly.
TokenizerData tokenizer_from_gguf(const std::filesystem::path& path);
TokenizerData tokenizer_from_json(const Json& json, const std::string& where);
// A Hugging Face tokenizer.json that gives the same ids and reads back the same.
Json tokenizer_to_json(const TokenizerData& data);
// Fills bos_id, eos_id and stop_ids, where the tokenizer.json said nothing, from tokenizer_config.json, generation_config.json and
// config.json of its folder. Throws CheckpointError for ids and tokens outside the vocabulary.
void add_folder_ids(TokenizerData& data, const std::filesystem::path& folder);

}  // namespace mla
