#include "core/tokenizer/splitter.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cstdint>

namespace mla {
namespace {

enum class Class : uint8_t { letter, number, space, other };

Class class_of(UChar32 c) {
  if (c < 128) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return Class::letter;
    if (c >= '0' && c <= '9') return Class::number;
    return c == ' ' || (c >= 9 && c <= 13) ? Class::space : Class::other;
  }
  const uint32_t category = U_GET_GC_MASK(c);
  if ((category & U_GC_L_MASK) != 0) return Class::letter;
  if ((category & U_GC_N_MASK) != 0) return Class::number;
  return u_isUWhiteSpace(c) ? Class::space : Class::other;
}

// One code point: its class and where it ends.
struct Point {
  Class kind;
  std::size_t end;
};

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text), bytes_(reinterpret_cast<const uint8_t*>(text.data())) {}

  Point at(std::size_t offset) const {
    UChar32 c;
    std::size_t next = offset;
    U8_NEXT(bytes_, next, text_.size(), c);
    return {class_of(c), next};
  }
  // End of the run of `kind` that starts at `offset`, not beyond `limit`.
  std::size_t run(std::size_t offset, std::size_t limit, Class kind) const {
    while (offset < limit) {
      const Point point = at(offset);
      if (point.kind != kind) break;
      offset = point.end;
    }
    return offset;
  }
  // Start of the last code point before `offset`.
  std::size_t before(std::size_t offset) const {
    do --offset;
    while ((bytes_[offset] & 0xC0) == 0x80);
    return offset;
  }

 private:
  std::string_view text_;
  const uint8_t* bytes_;
};

// Length of a contraction at the front of `text`, or 0.
std::size_t contraction(std::string_view text) {
  for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (text.substr(0, ending.size()) == ending) return ending.size();
  return 0;
}

// The same without regard to case; U+017F, the long s, is an s then.
std::size_t contraction_of_any_case(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  if (text.substr(1, 2) == "\u017F") return 3;
  char lower[3] = {'\'', 0, 0};
  for (std::size_t i = 1; i < 3 && i < text.size(); ++i)
    lower[i] = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
  return contraction(std::string_view(lower, std::min<std::size_t>(3, text.size())));
}

bool is_newline(char c) { return c == '\r' || c == '\n'; }

// End of the white space from `begin`: all of it at the text's end, else all but its last character where there are two.
std::size_t blanks(const Scanner& scan, std::size_t begin, std::size_t end, std::size_t limit) {
  if (end == limit) return end;
  const std::size_t last = scan.before(end);  // white space before a word leaves its last character to the next piece
  return last > begin ? last : end;
}

// End of the gpt2 piece that starts at `begin` of a text that ends at `limit`.
std::size_t gpt2_piece(std::string_view text, const Scanner& scan, std::size_t begin, std::size_t limit) {
  if (const std::size_t size = contraction(text.substr(begin, limit - begin)); size > 0) return begin + size;
  const Point first = scan.at(begin);
  if (first.kind != Class::space) return scan.run(first.end, limit, first.kind);
  if (text[begin] == ' ' && first.end < limit)
    if (const Point next = scan.at(first.end); next.kind != Class::space) return scan.run(next.end, limit, next.kind);
  return blanks(scan, begin, scan.run(begin, limit, Class::space), limit);
}

// End of the llama3 or qwen2 piece that starts at `begin`; a piece of numbers has at most `digits` of them.
std::size_t llama3_piece(std::string_view text, const Scanner& scan, std::size_t begin, int digits) {
  if (const std::size_t size = contraction_of_any_case(text.substr(begin)); size > 0) return begin + size;
  const std::size_t limit = text.size();
  const Point first = scan.at(begin);
  if (first.kind == Class::letter) return scan.run(first.end, limit, Class::letter);
  if (first.kind == Class::number) {
    std::size_t end = first.end;
    for (int taken = 1; taken < digits && end < limit && scan.at(end).kind == Class::number; ++taken) end = scan.at(end).end;
    return end;
  }
  if (!is_newline(text[begin]) && first.end < limit && scan.at(first.end).kind == Class::letter) return scan.run(first.end, limit, Class::letter);
  const std::size_t mark = text[begin] == ' ' ? first.end : begin;  // where a run of signs may begin
  if (mark < limit && scan.at(mark).kind == Class::other) {
    std::size_t end = scan.run(mark, limit, Class::other);
    while (end < limit && is_newline(text[end])) ++end;
    return end;
  }
  const std::size_t end = scan.run(begin, limit, Class::space);
  for (std::size_t last = end; last > begin; --last)
    if (is_newline(text[last - 1])) return last;
  return blanks(scan, begin, end, limit);
}

// End of the piece at `begin` of a text in which no number ends a piece by itself.
std::size_t piece_end(std::string_view text, const Scanner& scan, std::size_t begin, Pretokenizer kind) {
  switch (kind) {
    case Pretokenizer::gpt2: return gpt2_piece(text, scan, begin, text.size());
    case Pretokenizer::llama3: return llama3_piece(text, scan, begin, 3);
    case Pretokenizer::qwen2: return llama3_piece(text, scan, begin, 1);
    case Pretokenizer::words: return std::min(text.find("\u2581", begin + 1), text.size());
    case Pretokenizer::whole: case Pretokenizer::smollm: break;
  }
  return text.size();
}

// Every number alone, and gpt2's pieces of what lies between.
std::vector<std::string_view> smollm_pieces(std::string_view text, const Scanner& scan) {
  std::vector<std::string_view> pieces;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t limit = begin;
    while (limit < text.size() && scan.at(limit).kind != Class::number) limit = scan.at(limit).end;
    while (begin < limit) {
      const std::size_t end = gpt2_piece(text, scan, begin, limit);
      pieces.push_back(text.substr(begin, end - begin));
      begin = end;
    }
    if (limit == text.size()) break;
    begin = scan.at(limit).end;
    pieces.push_back(text.substr(limit, begin - limit));
  }
  return pieces;
}

}  // namespace

std::vector<std::string_view> split_pieces(std::string_view text, Pretokenizer kind) {
  const Scanner scan(text);
  if (kind == Pretokenizer::smollm) return smollm_pieces(text, scan);
  std::vector<std::string_view> pieces;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = piece_end(text, scan, begin, kind);
    pieces.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return pieces;
}

std::string_view strip_space(std::string_view text) {
  std::size_t first = text.size(), last = 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  for (std::size_t i = 0, start = 0; i < text.size(); start = i) {
    UChar32 c = 0;
    U8_NEXT(bytes, i, text.size(), c);
    if (u_isUWhiteSpace(c) || (c >= 0x1C && c <= 0x1F)) continue;
    first = std::min(first, start);
    last = i;
  }
  return first >= last ? std::string_view() : text.substr(first, last - first);
}

std::string sanitize_utf8(std::string_view bytes) {
  std::string clean;
  clean.reserve(bytes.size());
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  for (std::size_t offset = 0; offset < bytes.size();) {
    const std::size_t start = offset;
    UChar32 c;
    U8_NEXT(data, offset, bytes.size(), c);
    if (c >= 0) clean.append(bytes.substr(start, offset - start));
    else clean.append("\xEF\xBF\xBD");
  }
  return clean;
}

}  // namespace mla
