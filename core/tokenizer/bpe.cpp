#include "core/tokenizer/bpe.h"

#include <queue>

namespace mla {
namespace {

// Symbols form a linked list; a merged-away symbol has id -1.
struct Symbol {
  int32_t id;
  int32_t previous, next;
};

struct Candidate {
  int32_t rank;
  int32_t left;       // position of the left symbol
  uint64_t pair;      // what both were when the candidate was made
  bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
};

void append(std::vector<Symbol>& symbols, int32_t id) {
  const auto position = static_cast<int32_t>(symbols.size());
  if (id >= 0) symbols.push_back({id, position - 1, position + 1});
}

void merge_symbols(const BpeTable& table, std::vector<Symbol> symbols, std::vector<int32_t>& out) {
  if (symbols.empty()) return;
  symbols.back().next = -1;
  const auto count = static_cast<int32_t>(symbols.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  const auto at = [&](int32_t position) -> Symbol& { return symbols[static_cast<std::size_t>(position)]; };
  const auto offer = [&](int32_t left) {
    if (left < 0 || at(left).next < 0) return;
    const uint64_t pair = BpeTable::key(at(left).id, at(at(left).next).id);
    if (const auto merge = table.merges.find(pair); merge != table.merges.end()) heap.push({merge->second.rank, left, pair});
  };
  for (int32_t i = 0; i + 1 < count; ++i) offer(i);

  while (!heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    Symbol& left = at(best.left);
    if (left.id < 0 || left.next < 0 || BpeTable::key(left.id, at(left.next).id) != best.pair) continue;  // out of date
    Symbol& right = at(left.next);
    left.id = table.merges.at(best.pair).result;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) at(left.next).previous = best.left;
    offer(left.previous);
    offer(best.left);
  }
  for (const Symbol& symbol : symbols)
    if (symbol.id >= 0) out.push_back(symbol.id);
}

}  // namespace

void encode_piece(const BpeTable& table, std::string_view piece, std::vector<int32_t>& out) {
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  for (const char byte : piece) append(symbols, table.byte_ids[static_cast<uint8_t>(byte)]);
  merge_symbols(table, std::move(symbols), out);
}

void encode_characters(const BpeTable& table, std::string_view piece, std::vector<int32_t>& out) {
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  for (std::size_t begin = 0, end = 0; begin < piece.size(); begin = end) {
    for (end = begin + 1; end < piece.size() && (static_cast<uint8_t>(piece[end]) & 0xC0) == 0x80;) ++end;
    const std::string character(piece.substr(begin, end - begin));
    if (const auto found = table.char_ids.find(character); found != table.char_ids.end()) append(symbols, found->second);
    else for (const char byte : character) append(symbols, table.byte_ids[static_cast<uint8_t>(byte)]);
  }
  merge_symbols(table, std::move(symbols), out);
}

}  // namespace mla
