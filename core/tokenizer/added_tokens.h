// Finds added tokens in a text as the tokenizers library does: from left to right, the longest where several begin.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/tokenizer/tokenizer_data.h"

namespace mla {

class AddedTokens {
 public:
  // A part of the text: plain text where id is -1, else an added token with the white space that it takes along.
  struct Part {
    std::string_view text;
    int32_t id = -1;
  };
  void add(std::string_view text, const AddedToken& token);  // an empty text is no token
  bool empty() const { return tokens_.empty(); }
  // Parts of valid UTF-8 in order. Special tokens count as plain text unless `special`; a token that is passed over hides others
  // that overlap it. Time grows with the text and the longest token, not with their number.
  std::vector<Part> split(std::string_view text, bool special) const;

 private:
  struct Match {
    std::size_t size = 0;
    int32_t token = -1;
  };
  Match longest(std::string_view text, std::size_t begin) const;
  std::vector<AddedToken> tokens_;
  std::unordered_map<uint64_t, int32_t> edges_;  // node << 8 | byte -> node; the root is 0
  std::vector<int32_t> ends_{-1};                // by node: the token that ends there
};

}  // namespace mla
