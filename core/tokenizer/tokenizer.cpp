#include "core/tokenizer/tokenizer.h"

#include <unicode/utf8.h>

#include <algorithm>
#include <deque>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/sha256.h"
#include "core/tokenizer/normalizer.h"

namespace mla {
namespace {

// GPT-2's alphabet: printable bytes stand for themselves, the other 68 for U+0100 onwards, in order.
struct ByteAlphabet {
  std::array<int32_t, 0x150> byte_of{};  // -1 where no byte is meant
  std::array<std::string, 256> text_of;

  ByteAlphabet() {
    byte_of.fill(-1);
    int32_t extra = 0x100;
    for (int32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      const int32_t point = printable ? byte : extra++;
      byte_of[static_cast<std::size_t>(point)] = byte;
      char buffer[4];
      int32_t size = 0;
      U8_APPEND_UNSAFE(buffer, size, point);
      text_of[static_cast<std::size_t>(byte)] = std::string(buffer, static_cast<std::size_t>(size));
    }
  }
};

const ByteAlphabet& alphabet() {
  static const ByteAlphabet instance;
  return instance;
}

// Raw bytes of a token that is written in the byte alphabet; false when it holds another character.
bool to_bytes(const std::string& token, std::string& bytes) {
  bytes.clear();
  const auto* data = reinterpret_cast<const uint8_t*>(token.data());
  for (std::size_t offset = 0; offset < token.size();) {
    UChar32 c;
    U8_NEXT(data, offset, token.size(), c);
    if (c < 0 || c >= 0x150 || alphabet().byte_of[static_cast<std::size_t>(c)] < 0) return false;
    bytes += static_cast<char>(alphabet().byte_of[static_cast<std::size_t>(c)]);
  }
  return true;
}

// The byte that a token <0x00> to <0xFF> of a vocabulary of characters means; -1 for another token.
int32_t byte_of(const std::string& token) {
  if (token.size() != 6 || token.compare(0, 3, "<0x") != 0 || token[5] != '>') return -1;
  const std::string_view digits = "0123456789ABCDEF";
  const std::size_t high = digits.find(token[3]), low = digits.find(token[4]);
  return high == std::string_view::npos || low == std::string_view::npos ? -1 : static_cast<int32_t>(16 * high + low);
}

bool is_one_character(const std::string& token) {
  std::size_t points = 0;
  for (const char byte : token) points += (static_cast<uint8_t>(byte) & 0xC0) != 0x80;
  return points == 1;
}

}  // namespace

Tokenizer::Tokenizer(TokenizerData data, const std::string& where) : data_(std::move(data)) {
  std::unordered_map<std::string_view, int32_t> ids;
  place_tokens(where, ids);
  place_bytes(where, ids);
  table_.merges.reserve(data_.merges.size());
  int32_t rank = 0;
  for (const auto& [left, right] : data_.merges) {
    const auto a = ids.find(left), b = ids.find(right), joined = ids.find(left + right);
    if (a == ids.end() || b == ids.end() || joined == ids.end())
      fail<CheckpointError>("tokenizer", where, ": merge ", rank, " '", left, "' + '", right, "' names a token that is not in the vocabulary");
    table_.merges.emplace(BpeTable::key(a->second, b->second), Merge{rank++, joined->second});
  }
  for (const AddedToken& token : data_.added) {
    const std::string& text = data_.tokens[index(token.id)];
    token.normalized ? normalized_.add(normalize(text, data_.normalizer), token) : raw_.add(text, token);
  }
  if (data_.stop_ids.empty() && data_.eos_id >= 0) data_.stop_ids = {data_.eos_id};
}

// Raw bytes of every token, `ids` by the token's text, and what added tokens the special flags mean.
void Tokenizer::place_tokens(const std::string& where, std::unordered_map<std::string_view, int32_t>& ids) {
  std::vector<bool> added(data_.tokens.size());
  for (const AddedToken& token : data_.added) added[index(token.id)] = true;
  for (std::size_t i = 0; i < data_.tokens.size(); ++i)
    if (data_.special[i] && !added[i]) data_.added.push_back({.id = static_cast<int32_t>(i)}), added[i] = true;
  std::sort(data_.added.begin(), data_.added.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  const auto twice = std::adjacent_find(data_.added.begin(), data_.added.end(), [](const AddedToken& a, const AddedToken& b) { return a.id == b.id; });
  if (twice != data_.added.end()) fail<CheckpointError>("tokenizer", where, ": added token ", twice->id, " stands twice");
  byte_of_.assign(data_.tokens.size(), -1);
  std::size_t next_added = 0;
  for (std::size_t i = 0; i < data_.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::string& token = data_.tokens[i];
    std::string bytes = token;
    if (added[i] && data_.added[next_added++].normalized) bytes = normalize(token, data_.normalizer);  // what it stands for in the text
    const bool plain_text = added[i] || data_.vocabulary == Vocabulary::characters;
    if (plain_text && sanitize_utf8(token) != token) fail<CheckpointError>("tokenizer", where, ": ", added[i] ? "special " : "", "token ", id, " is not UTF-8");
    if (!plain_text && !to_bytes(token, bytes))
      fail<CheckpointError>("tokenizer", where, ": token ", id, " '", token, "' is not written in the byte alphabet");
    if (data_.vocabulary == Vocabulary::characters) {
      byte_of_[i] = byte_of(token);
      if (byte_of_[i] >= 0) bytes = std::string(1, static_cast<char>(byte_of_[i]));
      else replace_every(bytes, kBlank, " ");
    }
    if (!ids.emplace(token, id).second) fail<CheckpointError>("tokenizer", where, ": token '", token, "' stands twice");
    pieces_.push_back(std::move(bytes));
  }
  if (!data_.ignore_merges) return;
  for (std::size_t i = 0; i < pieces_.size(); ++i)
    if (!added[i]) whole_.emplace(data_.vocabulary == Vocabulary::bytes ? pieces_[i] : data_.tokens[i], static_cast<int32_t>(i));
}

// The symbols that merging begins with.
void Tokenizer::place_bytes(const std::string& where, const std::unordered_map<std::string_view, int32_t>& ids) {
  table_.byte_ids.fill(-1);
  if (data_.vocabulary == Vocabulary::bytes) {
    for (std::size_t byte = 0; byte < 256; ++byte)  // SmolLM2's vocabulary lacks 21: six control characters, and 15 bytes that UTF-8 never uses or no assigned character has
      if (const auto found = ids.find(alphabet().text_of[byte]); found != ids.end()) table_.byte_ids[byte] = found->second;
    return;
  }
  for (std::size_t i = 0; i < data_.tokens.size(); ++i) {
    if (byte_of_[i] >= 0) table_.byte_ids[static_cast<std::size_t>(byte_of_[i])] = static_cast<int32_t>(i);
    if (is_one_character(data_.tokens[i])) table_.char_ids.emplace(data_.tokens[i], static_cast<int32_t>(i));
  }
  for (std::size_t byte = 0; byte < 256; ++byte)
    if (table_.byte_ids[byte] < 0) fail<CheckpointError>("tokenizer", where, ": wanted a token for each of <0x00> to <0xFF>, none for byte ", byte);
}

// One call of encode(): the pieces that were met, and the texts that they are views of.
class Tokenizer::Encoding {
 public:
  Encoding(const Tokenizer& tokenizer, bool special) : tokenizer_(tokenizer), data_(tokenizer.data_), special_(special) {}

  void text(std::string_view all) {
    for (const AddedTokens::Part& part : tokenizer_.raw_.split(all, special_)) {
      if (part.id >= 0) ids.push_back(part.id);
      else between(part.text, part.text.data() == all.data());
    }
  }
  std::vector<int32_t> ids;

 private:
  std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }

  void between(std::string_view text, bool first) {
    if (!data_.normalizer.empty()) text = keep(normalize(text, data_.normalizer));
    for (const AddedTokens::Part& part : tokenizer_.normalized_.split(text, special_)) {
      if (part.id >= 0) ids.push_back(part.id);
      else plain(part.text, first && part.text.data() == text.data());
    }
  }

  void plain(std::string_view text, bool first) {
    if (data_.metaspace) {
      std::string spaced(text);
      replace_every(spaced, " ", kBlank);
      if ((data_.prefix == Prefix::always || (data_.prefix == Prefix::first && first)) && !spaced.starts_with(kBlank)) spaced.insert(0, kBlank);
      text = keep(std::move(spaced));
    }
    for (const std::string_view piece : split_pieces(text, data_.pretokenizer)) add(piece);
  }

  void add(std::string_view piece) {
    constexpr std::size_t kLongestKept = 64;
    if (piece.size() > kLongestKept) return merge(piece, ids);
    const auto [entry, fresh] = known_.try_emplace(piece);
    if (fresh) merge(piece, entry->second);
    ids.insert(ids.end(), entry->second.begin(), entry->second.end());
  }

  void merge(std::string_view piece, std::vector<int32_t>& out) const {
    if (const auto whole = tokenizer_.whole_.find(piece); whole != tokenizer_.whole_.end()) out.push_back(whole->second);
    else if (data_.vocabulary == Vocabulary::bytes) encode_piece(tokenizer_.table_, piece, out);
    else encode_characters(tokenizer_.table_, piece, out);
  }

  const Tokenizer& tokenizer_;
  const TokenizerData& data_;
  bool special_;
  std::deque<std::string> kept_;
  std::unordered_map<std::string_view, std::vector<int32_t>> known_;
};

std::vector<int32_t> Tokenizer::encode(std::string_view utf8, const EncodeOptions& options) const {
  const std::string text = sanitize_utf8(utf8);
  Encoding encoding(*this, options.parse_special);
  if (options.add_special) encoding.ids = data_.before;
  encoding.text(text);
  if (options.add_special) encoding.ids.insert(encoding.ids.end(), data_.after.begin(), data_.after.end());
  return std::move(encoding.ids);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  if (data_.vocabulary == Vocabulary::characters) return decode_characters(ids, skip_special);
  std::string bytes;
  for (const int32_t id : ids)
    if (!(skip_special && is_special(id))) bytes += piece(id);
  return sanitize_utf8(bytes);
}

// As the library's ByteFallback: a run of byte tokens that is no UTF-8 as a whole becomes one U+FFFD for each byte.
std::string Tokenizer::decode_characters(std::span<const int32_t> ids, bool skip_special) const {
  std::string text, run;
  const auto end_run = [&] {
    if (sanitize_utf8(run) == run) text += run;
    else for (std::size_t i = 0; i < run.size(); ++i) text += "\xEF\xBF\xBD";
    run.clear();
  };
  for (const int32_t id : ids) {
    if (skip_special && is_special(id)) continue;
    if (byte_of_[index(id)] >= 0) {
      run += piece(id);
      continue;
    }
    end_run();
    text += piece(id);
  }
  end_run();
  return data_.strip_blank && text.starts_with(' ') ? text.substr(1) : text;
}

std::size_t Tokenizer::index(int32_t id) const {
  if (id < 0 || id >= std::ssize(data_.tokens)) fail<ShapeError>("tokenizer", "wanted a token id in [0, ", data_.tokens.size(), "), got ", id);
  return static_cast<std::size_t>(id);
}

const std::string& Tokenizer::piece(int32_t id) const { return pieces_[index(id)]; }

int32_t Tokenizer::id_of(const std::string& token) const {
  const auto found = std::find(data_.tokens.begin(), data_.tokens.end(), token);
  return found == data_.tokens.end() ? -1 : static_cast<int32_t>(found - data_.tokens.begin());
}

std::string Tokenizer::sha256() const {
  Json all = to_tokenizer_json();
  all["mlaforge"] = {{"bos_id", bos_id()}, {"eos_id", eos_id()}};
  return sha256_hex(all.dump());
}

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::filesystem::path& model) {
  std::filesystem::path file = model;
  if (std::filesystem::is_directory(model)) file /= "tokenizer.json";
  if (file.extension() != ".json") return std::make_shared<Tokenizer>(tokenizer_from_gguf(file), file.string());
  JsonLimits limits;
  limits.max_bytes = std::size_t{64} << 20;
  TokenizerData data = tokenizer_from_json(read_json_file(file, limits), file.string());
  if (file.has_parent_path()) add_folder_ids(data, file.parent_path());
  return std::make_shared<Tokenizer>(std::move(data), file.string());
}

}  // namespace mla
