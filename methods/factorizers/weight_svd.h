// Truncated SVD of the weights themselves, no data (MHA2MLA, arXiv 2502.14837, section 3.2).
#pragma once
#include "methods/parts.h"

namespace mla {

enum class SvdMode { none, joint, split, only_key, only_value };
std::unique_ptr<Factorizer> make_weight_svd(SvdMode mode);

}  // namespace mla
