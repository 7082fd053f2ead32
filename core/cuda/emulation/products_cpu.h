// wgmma on a CPU: a warp's products wait in groups, and read their operands and write their results as late as the kernel's waits allow,
// or, when asked, at once: a result of both that is the same has waited for what it reads, and has been waited for.
#pragma once
#include <cstddef>
#include <cstdint>

namespace mla::gpu::emulation {

enum class Products { late, at_once };
void set_products(Products when);

// One thread's part of D [64,columns] = A [64,16] B [16,columns] + D.
struct ProductCall {
  float* d;                          // columns/2 values
  const uint32_t* registers;         // of A, 4; null: A lies in shared memory
  uint32_t a_values[4];              // what they hold now
  uint64_t a, b;                     // descriptors
  int16_t columns;
  bool transposed, accumulate, half;  // B is MN-major; add to D; fp16, else bf16
};
// The four are asked for by every lane of a warp. Throw std::logic_error where lanes differ, and where registers changed after the last
// product_fence().
void begin_product(const ProductCall& mine);
void product_fence();
void close_products();
void await_products(int open);

void fence_async_proxy();
uint32_t product_address(const void* shared);
void note_write(const void* shared, std::size_t size);

}  // namespace mla::gpu::emulation
