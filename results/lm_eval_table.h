// The Markdown table of lm-evaluation-harness, character by character as its make_table prints it (through pytablewriter).
#pragma once
#include <string>

#include "core/base/json.h"

namespace mla {

// Of an object as lm_eval_results() makes it. Throws ConfigError where it is none.
std::string write_lm_eval_table(const nlohmann::ordered_json& results);

}  // namespace mla
