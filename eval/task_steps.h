// What templates cannot say: named steps that add columns to a row before its templates are rendered.
//   hellaswag            query and choices of lm-evaluation-harness: both cleaned and stripped at their start
//   hellaswag-lighteval  as MHA2MLA's lighteval file: the query keeps the blank after the context, nothing is stripped
//   winogrande           before: text up to the blank '_'; after: what follows it, stripped
//   mmlu_pro             target: the worked answer (cot_content) without its opening words; rows without one get none
//   trivia_qa            candidates: the aliases in lower case without ASCII punctuation, those that begin with another one left out
#pragma once
#include <string>
#include <vector>

#include "core/base/json.h"

namespace mla {

const std::vector<std::string>& step_names();
// `where` names the row. Throws CheckpointError for columns that are not there.
void run_step(const std::string& step, Json& row, const std::string& where);

// Python's str.capitalize: the first character in title case, the others in lower case.
std::string capitalize(const std::string& text);
// Unicode code points of valid UTF-8, as Python's len counts them.
int64_t code_points(std::string_view text);

}  // namespace mla
