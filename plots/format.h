// printf into a string, for numbers in scripts and pages. No text of a store goes through it.
#pragma once
#include <cstdio>
#include <string>

namespace mla {

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

}  // namespace mla
