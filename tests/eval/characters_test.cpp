// Characters are classed and lower-cased as CPython does it (tests/oracle/characters_goldens.py).
#include <cstdio>
#include <map>

#include "core/base/json.h"
#include "core/base/sha256.h"
#include "eval/scorers/text.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

static std::string hex(char32_t c) {
  char text[16];
  std::snprintf(text, sizeof text, "%x", static_cast<unsigned>(c));
  return text;
}

// "41 001 61\n": white space, \d, \w, lower case.
static std::string described(char32_t c) {
  std::string text = hex(c) + " ";
  for (const bool mark : {py::is_space(c), py::is_decimal(c), py::is_word(c)}) text += mark ? '1' : '0';
  char separator = ' ';
  for (const char32_t lower : py::lower(std::u32string(1, c))) {
    text += separator + hex(lower);
    separator = ',';
  }
  return text + "\n";
}

TEST_CASE("every character assigned in Unicode 14 has CPython's classes and lower case", "[scorers][golden]") {
  const Json golden_file = read_json_file(golden("characters.json"));
  std::map<uint32_t, std::string> blocks;
  std::size_t characters = 0;
  for (const Json& range : golden_file["assigned_ranges"])
    for (char32_t c = range[0].get<uint32_t>(); c <= range[1].get<uint32_t>(); ++c, ++characters) blocks[c / 4096] += described(c);
  CHECK(characters > 140000);
  CHECK(blocks.size() == golden_file["blocks_of_4096"].size());
  for (const auto& [block, text] : blocks) {
    INFO("block from U+" << hex(block * 4096));
    CHECK(sha256_hex(text).substr(0, 16) == golden_file["blocks_of_4096"][std::to_string(block)].get<std::string>());
  }
}
