// Words of a command line as a POSIX shell reads them.
#pragma once
#include <string>
#include <vector>

namespace mla {

// The word itself where a shell takes it as it is, else in single quotes.
std::string shell_word(const std::string& word);
// The words with spaces between, as a shell would take them again.
std::string shell_line(const std::vector<std::string>& words);

}  // namespace mla
