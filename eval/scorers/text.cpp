#include "eval/scorers/text.h"

#include <unicode/uchar.h>
#include <unicode/ustring.h>
#include <unicode/utf8.h>

#include <charconv>
#include <cmath>

#include "core/base/error.h"

namespace mla::py {

std::u32string decode(std::string_view utf8) {
  std::u32string text;
  text.reserve(utf8.size());
  const auto* data = reinterpret_cast<const uint8_t*>(utf8.data());
  for (std::size_t offset = 0; offset < utf8.size();) {
    UChar32 c;
    U8_NEXT(data, offset, utf8.size(), c);
    text.push_back(c < 0 ? U'\uFFFD' : static_cast<char32_t>(c));
  }
  return text;
}

std::string encode(std::u32string_view text) {
  std::string utf8;
  utf8.reserve(text.size());
  for (const char32_t c : text) {
    char buffer[4];
    int32_t length = 0;
    U8_APPEND_UNSAFE(buffer, length, static_cast<UChar32>(c));
    utf8.append(buffer, static_cast<std::size_t>(length));
  }
  return utf8;
}

// Python adds the four information separators to Unicode's White_Space.
bool is_space(char32_t c) {
  if (c < 128) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
  return u_isUWhiteSpace(static_cast<UChar32>(c)) != 0;
}

bool is_decimal(char32_t c) {
  if (c < 128) return c >= '0' && c <= '9';
  return u_charType(static_cast<UChar32>(c)) == U_DECIMAL_DIGIT_NUMBER;
}

bool is_word(char32_t c) {
  if (c < 128) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  const auto point = static_cast<UChar32>(c);
  return (U_GET_GC_MASK(point) & U_GC_L_MASK) != 0 || u_getIntPropertyValue(point, UCHAR_NUMERIC_TYPE) != U_NT_NONE;
}

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

std::u32string lower(std::u32string_view text) {
  std::u32string out(text);
  bool ascii = true;
  for (char32_t& c : out) {
    if (c >= 128) ascii = false;
    else if (c >= 'A' && c <= 'Z') c += 32;
  }
  if (ascii) return out;
  // ICU maps UTF-16. Growth: U+0130 becomes two characters; no mapping makes more than three units of one.
  UErrorCode status = U_ZERO_ERROR;
  std::u16string wide(text.size() * 2 + 1, u'\0'), mapped(text.size() * 6 + 1, u'\0');
  int32_t length = 0;
  u_strFromUTF32(wide.data(), static_cast<int32_t>(wide.size()), &length, reinterpret_cast<const UChar32*>(text.data()),
                 static_cast<int32_t>(text.size()), &status);
  length = u_strToLower(mapped.data(), static_cast<int32_t>(mapped.size()), wide.data(), length, "", &status);
  out.assign(static_cast<std::size_t>(length) + 1, U'\0');
  u_strToUTF32(reinterpret_cast<UChar32*>(out.data()), static_cast<int32_t>(out.size()), &length, mapped.data(), length, &status);
  if (U_FAILURE(status)) fail<ConfigError>("scorers", "ICU could not lower-case a text of ", text.size(), " characters: ", u_errorName(status));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

std::u32string_view strip(std::u32string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

namespace {

// The maximal runs of characters for which `inside` holds.
template <class Inside>
std::vector<std::u32string_view> runs(std::u32string_view text, Inside inside) {
  std::vector<std::u32string_view> found;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && inside(text[end])) ++end;
    if (end > i) found.push_back(text.substr(i, end - i));
    i = end + 1;
  }
  return found;
}

}  // namespace

std::vector<std::u32string_view> split(std::u32string_view text) {
  return runs(text, [](char32_t c) { return !is_space(c); });
}

std::vector<std::u32string_view> split(std::u32string_view text, char32_t sep) {
  std::vector<std::u32string_view> pieces;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(sep, begin);
    pieces.push_back(text.substr(begin, end == text.npos ? text.npos : end - begin));
    if (end == text.npos) return pieces;
    begin = end + 1;
  }
}

std::u32string join(const std::vector<std::u32string_view>& pieces, std::u32string_view separator) {
  std::u32string joined;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0) joined += separator;
    joined += pieces[i];
  }
  return joined;
}

std::u32string collapse_spaces(std::u32string_view text) { return join(split(text), U" "); }

std::vector<std::u32string_view> digit_runs(std::u32string_view text) { return runs(text, is_decimal); }

// The shortest digits that read back; an exponent from 1e16 on and below 1e-4, as CPython's format 'r' has it.
std::string repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  const double size = std::abs(value);
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, plain ? std::chars_format::fixed : std::chars_format::scientific).ptr;
  std::string text(buffer, end);
  if (plain && text.find('.') == text.npos) text += ".0";
  return text;
}

}  // namespace mla::py
