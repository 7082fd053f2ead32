// The flags of the KV cache, for every command that decodes.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "core/model/kv_cache.h"

namespace mla {

struct CacheFlags {
  std::string kind;  // "int4"; empty: the model's own dtype
  int64_t group = 64, residual = 128;
  std::string axis = "token", rule = "quanto", residual_rule = "window", scales = "fp16";
  std::string given;  // the first flag that only integers have a use for
};
void add_cache_flags(CLI::App& command, CacheFlags& flags);

// A cache in the model's own dtype is the same whether it was asked for or not. Throws ConfigError for an unknown kind, UsageError for
// flags of integers beside another kind.
CacheFormat cache_format(const CacheFlags& flags, at::ScalarType model_dtype);

}  // namespace mla
