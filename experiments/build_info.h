// What was known when the program was configured.
#pragma once
#include "core/base/json.h"

namespace mla {

struct BuildInfo {
  const char* version;
  const char* git_commit;  // "unknown" outside a checkout
  bool git_dirty;
  const char* build_type;
  const char* compiler;
  const char* source_dir;
};
const BuildInfo& build_info();

// Versions of the libraries that this process runs with.
Json library_versions();

}  // namespace mla
