// Rows of LLM-Adapters' instruction files (AGI-Edgerunners), turned back into the columns of the data sets they were made from.
// Total: a row either gives columns that spell its instruction again, byte for byte, or is refused.
#pragma once
#include <string>
#include <vector>

#include "core/base/json.h"

namespace mla {

// Layouts and the columns they give:
//   instruct-arc          question, choices.text, choices.label, answerKey   (the labels are A, B, ...: the original's 1, 2 are lost)
//   instruct-openbookqa   question_stem, choices.text, choices.label, answerKey
//   instruct-social_iqa   question (the original's context and question, joined by a space), answers, label from 1
//   instruct-piqa         goal, sol1, sol2, label from 0
//   instruct-winogrande   sentence, option1, option2, answer "1" or "2"
//   instruct-boolq        question, label 0 (false) or 1; there is no passage
const std::vector<std::string>& instruct_layouts();

// `where` names the row. Throws CheckpointError.
Json parse_instruct_row(const Json& row, const std::string& layout, const std::string& where);

}  // namespace mla
