#include "core/tokenizer/tokenizer.h"

#include <unicode/utf8.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/sha256.h"

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

// Finds the special tokens of a text from left to right; where several begin, the longest. Each token is searched for again
// only once the reader is past its last place, so that a text of many special tokens is not read many times over.
class SpecialScanner {
 public:
  struct Found {
    std::size_t at;
    const std::string* token;  // null: no more
    int32_t id;
  };

  SpecialScanner(std::string_view text, const Tokenizer& tokenizer, const std::vector<int32_t>& ids) : text_(text) {
    for (const int32_t id : ids)
      if (const std::string& token = tokenizer.piece(id); !token.empty()) places_.push_back({text.find(token), &token, id});
  }
  Found next(std::size_t begin) {
    Found first{std::string_view::npos, nullptr, -1};
    for (Found& place : places_) {
      if (place.at < begin) place.at = text_.find(*place.token, begin);
      if (place.at == std::string_view::npos) continue;
      if (place.at < first.at || (place.at == first.at && place.token->size() > first.token->size())) first = place;
    }
    return first;
  }

 private:
  std::string_view text_;
  std::vector<Found> places_;  // next place of each token; npos where there is none
};

}  // namespace

Tokenizer::Tokenizer(TokenizerData data, const std::string& where) : data_(std::move(data)) {
  std::unordered_map<std::string_view, int32_t> ids;
  for (std::size_t i = 0; i < data_.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    std::string bytes;
    if (data_.special[i]) {
      if (sanitize_utf8(data_.tokens[i]) != data_.tokens[i]) fail<CheckpointError>("tokenizer", where, ": special token ", id, " is not UTF-8");
      special_ids_.push_back(id);
      bytes = data_.tokens[i];
    } else if (!to_bytes(data_.tokens[i], bytes)) {
      fail<CheckpointError>("tokenizer", where, ": token ", id, " '", data_.tokens[i], "' is not written in the byte alphabet");
    }
    if (!ids.emplace(data_.tokens[i], id).second) fail<CheckpointError>("tokenizer", where, ": token '", data_.tokens[i], "' stands twice");
    pieces_.push_back(std::move(bytes));
  }
  for (std::size_t byte = 0; byte < 256; ++byte) {  // SmolLM2's vocabulary lacks 21: six control characters, and 15 bytes that UTF-8 never uses or no assigned character has
    const auto found = ids.find(alphabet().text_of[byte]);
    table_.byte_ids[byte] = found == ids.end() ? -1 : found->second;
  }
  table_.merges.reserve(data_.merges.size());
  int32_t rank = 0;
  for (const auto& [left, right] : data_.merges) {
    const auto a = ids.find(left), b = ids.find(right), joined = ids.find(left + right);
    if (a == ids.end() || b == ids.end() || joined == ids.end())
      fail<CheckpointError>("tokenizer", where, ": merge ", rank, " '", left, "' + '", right, "' names a token that is not in the vocabulary");
    table_.merges.emplace(BpeTable::key(a->second, b->second), Merge{rank++, joined->second});
  }
}

void Tokenizer::encode_plain(std::string_view text, std::unordered_map<std::string_view, std::vector<int32_t>>& known,
                             std::vector<int32_t>& ids) const {
  constexpr std::size_t kLongestKept = 64;
  for (const std::string_view piece : split_pieces(text, data_.pretokenizer)) {
    if (piece.size() > kLongestKept) {
      encode_piece(table_, piece, ids);
      continue;
    }
    const auto [entry, fresh] = known.try_emplace(piece);
    if (fresh) encode_piece(table_, piece, entry->second);
    ids.insert(ids.end(), entry->second.begin(), entry->second.end());
  }
}

std::vector<int32_t> Tokenizer::encode(std::string_view utf8, const EncodeOptions& options) const {
  const std::string text = sanitize_utf8(utf8);
  std::unordered_map<std::string_view, std::vector<int32_t>> known;  // keys are views of `text`
  std::vector<int32_t> ids;
  const std::string_view all = text;
  std::size_t begin = 0;
  if (options.parse_special) {
    SpecialScanner scan(all, *this, special_ids_);
    for (auto found = scan.next(0); found.token != nullptr; found = scan.next(begin)) {
      encode_plain(all.substr(begin, found.at - begin), known, ids);
      ids.push_back(found.id);
      begin = found.at + found.token->size();
    }
  }
  encode_plain(all.substr(begin), known, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids)
    if (!(skip_special && is_special(id))) bytes += piece(id);
  return sanitize_utf8(bytes);
}

std::size_t Tokenizer::index(int32_t id) const {
  if (id < 0 || id >= vocab_size()) fail<ShapeError>("tokenizer", "wanted a token id in [0, ", vocab_size(), "), got ", id);
  return static_cast<std::size_t>(id);
}

const std::string& Tokenizer::piece(int32_t id) const { return pieces_[index(id)]; }

std::string Tokenizer::sha256() const { return sha256_hex(to_tokenizer_json().dump()); }

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::filesystem::path& model) {
  std::filesystem::path file = model;
  if (std::filesystem::is_directory(model)) file /= "tokenizer.json";
  if (file.extension() != ".json") return std::make_shared<Tokenizer>(tokenizer_from_gguf(file), file.string());
  JsonLimits limits;
  limits.max_bytes = std::size_t{64} << 20;
  return std::make_shared<Tokenizer>(tokenizer_from_json(read_json_file(file, limits), file.string()), file.string());
}

}  // namespace mla
