// For tests that need SmolLM2.
#pragma once
#include "tests/support/catch.h"
#include "tests/support/paths.h"

namespace mla::test {

// Says why the test is skipped where the model is not here.
inline bool no_model() {
  if (!smollm2().empty()) return false;
  skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  return true;
}

}  // namespace mla::test
