// Names that a person typed: joined lists and did-you-mean.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace mla {
std::string join(const std::vector<std::string>& parts, std::string_view separator = ", ");
// The known name nearest to `name`, or empty where none is near (edit distance above a third of its length).
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);
// "; did you mean 'x'? known: a, b, c", for the end of an error message.
std::string known_names_hint(std::string_view name, const std::vector<std::string>& known);
}  // namespace mla
