#include "core/tokenizer/added_tokens.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>

namespace mla {
namespace {

// \w of Unicode's regular expressions: letters and marks, decimal digits, connectors, joiners.
bool is_word(UChar32 c) {
  if (c < 0) return false;
  constexpr uint32_t kKinds = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || (U_GET_GC_MASK(c) & kKinds) != 0 || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL);
}

UChar32 character_from(std::string_view text, std::size_t& offset) {
  UChar32 c = U_SENTINEL;
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  if (offset < text.size()) U8_NEXT(bytes, offset, text.size(), c);
  return c;
}

UChar32 character_before(std::string_view text, std::size_t& offset) {
  UChar32 c = U_SENTINEL;
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  auto place = static_cast<int32_t>(offset);
  if (place > 0) U8_PREV(bytes, 0, place, c);
  offset = static_cast<std::size_t>(place);
  return c;
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  return !is_word(character_before(text, begin)) && !is_word(character_from(text, end));
}

std::size_t with_blanks_before(std::string_view text, std::size_t begin) {
  for (std::size_t next = begin; next > 0; begin = next)
    if (!u_isUWhiteSpace(character_before(text, next))) break;
  return begin;
}

std::size_t with_blanks_after(std::string_view text, std::size_t end) {
  for (std::size_t next = end; next < text.size(); end = next)
    if (!u_isUWhiteSpace(character_from(text, next))) break;
  return end;
}

}  // namespace

void AddedTokens::add(std::string_view text, const AddedToken& token) {
  if (text.empty()) return;
  int32_t node = 0;
  for (const char byte : text) {
    const uint64_t edge = static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
    const auto [found, fresh] = edges_.try_emplace(edge, static_cast<int32_t>(ends_.size()));
    if (fresh) ends_.push_back(-1);
    node = found->second;
  }
  ends_[static_cast<std::size_t>(node)] = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

AddedTokens::Match AddedTokens::longest(std::string_view text, std::size_t begin) const {
  Match best;
  uint64_t node = 0;
  for (std::size_t at = begin; at < text.size(); ++at) {
    const auto edge = edges_.find(node << 8 | static_cast<uint8_t>(text[at]));
    if (edge == edges_.end()) break;
    node = static_cast<uint64_t>(edge->second);
    if (ends_[node] >= 0) best = {at + 1 - begin, ends_[node]};
  }
  return best;
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text, bool special) const {
  std::vector<Part> parts;
  std::size_t done = 0;  // up to here the text is in parts
  for (std::size_t at = 0; at < text.size() && !empty();) {
    const Match match = longest(text, at);
    if (match.token < 0) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + match.size;
    at = end;
    const AddedToken& token = tokens_[static_cast<std::size_t>(match.token)];
    if ((token.special && !special) || (token.single_word && !stands_alone(text, begin, end))) continue;
    if (token.lstrip) begin = std::max(with_blanks_before(text, begin), done);
    if (token.rstrip) end = with_blanks_after(text, end);
    if (done < begin) parts.push_back({text.substr(done, begin - done), -1});
    parts.push_back({text.substr(begin, end - begin), token.id});
    done = end;
  }
  if (done < text.size()) parts.push_back({text.substr(done), -1});
  return parts;
}

}  // namespace mla
