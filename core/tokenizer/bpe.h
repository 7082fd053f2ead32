// Merges of neighbouring symbols by rank, with a heap: n log n in the piece's length. Symbols are bytes or characters.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mla {

struct Merge {
  int32_t rank;
  int32_t result;
};

struct BpeTable {
  std::array<int32_t, 256> byte_ids{};          // id of each single byte; -1 where the vocabulary has none
  std::unordered_map<std::string, int32_t> char_ids;  // of single characters, where symbols are characters; bytes stand for the others
  std::unordered_map<uint64_t, Merge> merges;   // key: left id << 32 | right id
  static uint64_t key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
};

// Appends the ids of `piece` (raw bytes) to `out`. Bytes without an id are left out before merging, as the tokenizers library does.
void encode_piece(const BpeTable& table, std::string_view piece, std::vector<int32_t>& out);
// The same with characters as symbols; `piece` is valid UTF-8. A character without an id becomes its bytes' ids.
void encode_characters(const BpeTable& table, std::string_view piece, std::vector<int32_t>& out);

}  // namespace mla
