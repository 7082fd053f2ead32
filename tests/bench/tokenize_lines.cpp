// tokenize_lines TOKENIZER < LINES > IDS: each line is a JSON text; its ids come back as a JSON list, special tokens matched and the
// tokenizer's own ids put around; with --decode, the ids' text too. For tests/oracle/tokenizer_families.py.
#include <iostream>
#include <string>

#include "core/base/json.h"
#include "core/tokenizer/tokenizer.h"

int main(int count, char** words) {
  if (count < 2) {
    std::cerr << "usage: tokenize_lines TOKENIZER [--decode] < LINES\n";
    return 2;
  }
  try {
    const bool decode = count > 2 && std::string(words[2]) == "--decode";
    const auto tokenizer = mla::Tokenizer::load(words[1]);
    for (std::string line; std::getline(std::cin, line);) {
      const std::string text = mla::parse_json(line, "standard input");
      const std::vector<int32_t> ids = tokenizer->encode(text, {.parse_special = true, .add_special = true});
      mla::Json out = ids;
      if (decode) out = {ids, tokenizer->decode(ids, false), tokenizer->decode(ids)};
      std::cout << out.dump() << '\n';
    }
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
