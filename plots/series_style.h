// One colour and mark per method in every figure.
#pragma once
#include <string>

namespace mla {

struct SeriesStyle {
  std::string color;  // "#0072b2": told apart by colour-blind readers too (after Okabe and Ito)
  int mark = 7;       // gnuplot's pointtype; tells series apart where there is no colour
  int dash = 1;       // gnuplot's dashtype
};

// `name` begins with a method's name ("transmla", "transmla ff4 r64"); the longest known one counts. Series of one method in one figure share its colour: `nth` of
// them, from 0, gives each a mark and a dash of its own.
SeriesStyle style_of(const std::string& name, int nth = 0);

}  // namespace mla
