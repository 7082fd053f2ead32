// The operators' C++ references as a table over host memory: what runs on a card runs the same on the CPU, slowly and in fp64.
#pragma once
#include "core/cuda/table.h"

namespace mla::gpu {

const CudaTable& reference_table();

}  // namespace mla::gpu
