#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/tokenizer/tokenizer_data.h"

namespace mla {

// The text after all steps, in order. `text` is valid UTF-8. NFC is of Unicode 15.
std::string normalize(std::string_view text, const std::vector<NormalizerStep>& steps);

// Every `from` that does not overlap an earlier one by `to`; an empty `from` is nowhere.
void replace_every(std::string& text, std::string_view from, std::string_view to);

inline constexpr const char* kBlank = "\u2581";  // what stands for a blank in vocabularies of characters

}  // namespace mla
