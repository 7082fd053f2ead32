#pragma once
#include "methods/parts.h"

namespace mla {
// The same rank for every layer. allocate() throws ConfigError when a layer admits less.
std::unique_ptr<Allocator> make_uniform(int64_t rank, std::string option);
}  // namespace mla
