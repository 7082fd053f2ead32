// Tables for papers and for browsers. Every text is data: it cannot become markup.
#pragma once
#include <string>

#include "results/table.h"

namespace mla {

// One `table` environment a section, ruled by booktabs.
std::string write_latex(const Table& table);

// A page of its own, one <table> a section; nothing is fetched, nothing runs.
std::string write_html(const Table& table);

// Text as HTML shows it, also inside a quoted attribute.
std::string html_escaped(const std::string& text);

}  // namespace mla
