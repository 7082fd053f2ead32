// GQA seen as MHA (MHA2MLA's is_gqa2mha2mla): every query head gets its own copy of its group's keys before they are split, so that
// each chooses its own rotary pairs and has its own rope key. Values stay one head per group, as the released code leaves them.
#pragma once
#include "methods/parts.h"

namespace mla {
std::unique_ptr<Splitter> make_per_query_head(std::unique_ptr<Splitter> inner);
}  // namespace mla
