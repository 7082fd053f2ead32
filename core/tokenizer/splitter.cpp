#include "core/tokenizer/splitter.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

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

// End of the gpt2 piece that starts at `begin` of a text that ends at `limit`.
std::size_t gpt2_piece(std::string_view text, const Scanner& scan, std::size_t begin, std::size_t limit) {
  if (const std::size_t size = contraction(text.substr(begin, limit - begin)); size > 0) return begin + size;
  const Point first = scan.at(begin);
  if (first.kind != Class::space) return scan.run(first.end, limit, first.kind);
  if (text[begin] == ' ' && first.end < limit)
    if (const Point next = scan.at(first.end); next.kind != Class::space) return scan.run(next.end, limit, next.kind);
  const std::size_t end = scan.run(begin, limit, Class::space);
  if (end == limit) return end;
  const std::size_t last = scan.before(end);  // white space before a word leaves its last character to the next piece
  return last > begin ? last : end;
}

}  // namespace

std::vector<std::string_view> split_pieces(std::string_view text, Pretokenizer kind) {
  std::vector<std::string_view> pieces;
  const Scanner scan(text);
  std::size_t begin = 0;
  while (begin < text.size()) {
    std::size_t limit = text.size();
    if (kind == Pretokenizer::smollm) {
      if (const Point first = scan.at(begin); first.kind == Class::number) {
        pieces.push_back(text.substr(begin, first.end - begin));
        begin = first.end;
        continue;
      }
      limit = begin;
      while (limit < text.size()) {
        const Point point = scan.at(limit);
        if (point.kind == Class::number) break;
        limit = point.end;
      }
    }
    while (begin < limit) {
      const std::size_t end = gpt2_piece(text, scan, begin, limit);
      pieces.push_back(text.substr(begin, end - begin));
      begin = end;
    }
  }
  return pieces;
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
