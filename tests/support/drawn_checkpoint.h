// A tiny checkpoint with its tokenizer and calibration ids in a folder, for tests of the program that need no real model.
#pragma once
#include "tests/support/paths.h"

namespace mla::test {

// Writes `folder`/model (two layers, hidden size 40, 27 letters) and `folder`/ids.json. Weights are seeded.
void write_drawn_checkpoint(const fs::path& folder);

}  // namespace mla::test
