// The CUDA module, opened when a card is asked for and never before. Looked for, in this order: the file that MLAFORGE_CUDA_MODULE names;
// beside the program; ../lib, ../lib/mlaforge and the install's library folder from there.
#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/cuda/table.h"

namespace mla::gpu {

// Places where the module may lie, first to last.
std::vector<std::filesystem::path> module_places();

// Opens the first of `places` that is a file. Throws CudaError that says what was looked for and where, or why it could not be opened, or
// that it is of another version of the program.
const CudaTable& load_module(const std::vector<std::filesystem::path>& places);

// The same of module_places(), once: later calls give the same table.
const CudaTable& open_module();

// Throws CudaError when version or sizes are not those of this program.
void check_table(const CudaTable& table, const std::string& where);

// A card that the module has code for. Throws CudaError: no device, an index that there is not, another architecture.
Card open_card(const CudaTable& table, int index = 0);

// "NVIDIA H100 PCIe, compute capability 9.0, 114 multiprocessors"
std::string describe(const Card& card);

// 'fitting' (also nothing) or 'wgmma'. Throws ConfigError for another name.
DecodeKernel decode_kernel_named(const std::string& name);

// The kernel is that which MLAFORGE_DECODE_KERNEL names.
CardLimits limits_of(const Card& card);

// The operators of a module with their checks: ShapeError before a launch, CudaError that names the operator when a launch fails.
// Launches are asynchronous: errors of a kernel itself come from synchronize().
class Operators {
 public:
  explicit Operators(const CudaTable& table) : table_(&table) {}
  void decode(const DecodeArgs& args, void* stream) const;
  void cache_append(const CacheAppendArgs& args, void* stream) const;
  void residual_norm(const ResidualNormArgs& args, void* stream) const;
  void swiglu(const SwigluArgs& args, void* stream) const;
  void logit_block(const LogitBlockArgs& args, void* stream) const;
  void synchronize() const;
  const CudaTable& table() const { return *table_; }

 private:
  void require(int code, const char* what) const;
  const CudaTable* table_;
};

// Memory of the card that is set. Throws ResourceError when there is not enough, with what was wanted and what is free.
class CardMemory {
 public:
  CardMemory(const CudaTable& table, std::size_t bytes);
  ~CardMemory() { table_->release(data_); }
  CardMemory(CardMemory&& other) noexcept : table_(other.table_), data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  CardMemory(const CardMemory&) = delete;
  CardMemory& operator=(const CardMemory&) = delete;
  CardMemory& operator=(CardMemory&&) = delete;
  void write(const void* host) const;  // all bytes
  void read(void* host) const;
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  const CudaTable* table_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace mla::gpu
