// The only way tests include Catch2: LibTorch and Catch2 2 both define CHECK, and the header that comes last wins silently.
#pragma once
#if __has_include(<ATen/ATen.h>)
#include <ATen/ATen.h>
#undef CHECK
#endif
#include <catch2/catch.hpp>

#include <string>

namespace mla {
// Says why a test did not run; the caller returns. The line is printed even when all tests pass.
void skip(const std::string& reason);
}  // namespace mla
