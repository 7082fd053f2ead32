// For tests of several processes.
#pragma once
#include "tests/support/catch.h"

namespace mla::test {

// Says why the test is skipped where the build has no Gloo.
inline bool no_gloo() {
#ifdef MLAFORGE_GLOO
  return false;
#else
  skip("built without Gloo's headers (Debian: libgloo-dev)");
  return true;
#endif
}

}  // namespace mla::test
