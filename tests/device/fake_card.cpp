// ATen's back end for devices from outside (PrivateUse1): an allocator, the operators that make and view tensors, and one fallback for all
// others.
#include "tests/device/fake_card.h"

#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

namespace mla::test {
namespace {

using Stack = torch::jit::Stack;

constexpr auto kType = c10::DeviceType::PrivateUse1;
constexpr std::size_t kReserved = std::size_t{1} << 32;  // of addresses; pages are taken when they are written

// ---- memory: one file mapped twice, for nobody and for the kernels ----------------------------------------------------

class Memory : public c10::Allocator {
 public:
  Memory() {
    const int file = memfd_create("fake card", 0);
    TORCH_CHECK(file >= 0 && ftruncate(file, kReserved) == 0, "the fake card has no memory: ", std::strerror(errno));
    far_ = static_cast<char*>(mmap(nullptr, kReserved, PROT_NONE, MAP_SHARED, file, 0));
    near_ = static_cast<char*>(mmap(nullptr, kReserved, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    close(file);
  }
  // Where kernels find what tensors have at `far`.
  void* near(const void* far) const { return far == nullptr ? nullptr : near_ + (static_cast<const char*>(far) - far_); }

  c10::DataPtr allocate(std::size_t bytes) override {
    const std::lock_guard lock(mutex_);
    const std::size_t size = std::bit_ceil(std::max<std::size_t>(bytes, 64));
    std::vector<std::size_t>& free = free_[size];
    std::size_t place = end_;
    if (free.empty()) {
      TORCH_CHECK(end_ + size <= kReserved, "the fake card's memory is used up");
      end_ += size;
    } else {
      place = free.back();
      free.pop_back();
    }
    std::memset(near_ + place, 0xff, size);  // NaNs, so that what nobody wrote shows
    bytes_.now += size;
    bytes_.peak = std::max(bytes_.peak, bytes_.now);
    ++bytes_.allocations;
    return {far_ + place, new Block{this, place, size}, [](void* block) { give_back(static_cast<Block*>(block)); }, c10::Device(kType, 0)};
  }
  void copy_data(void* to, const void* from, std::size_t count) const override { std::memcpy(near(to), near(from), count); }

  CardBytes bytes(bool reset) {
    const std::lock_guard lock(mutex_);
    const CardBytes so_far = bytes_;
    if (reset) bytes_ = {bytes_.now, bytes_.now, 0};
    return so_far;
  }

 private:
  struct Block {
    Memory* memory;
    std::size_t place, size;
  };
  static void give_back(Block* block) {
    Memory& memory = *block->memory;
    const std::lock_guard lock(memory.mutex_);
    memory.free_[block->size].push_back(block->place);
    memory.bytes_.now -= block->size;
    delete block;
  }

  char *far_ = nullptr, *near_ = nullptr;
  std::size_t end_ = 0;
  std::map<std::size_t, std::vector<std::size_t>> free_;  // places by size
  CardBytes bytes_;
  std::mutex mutex_;
};

Memory& memory() {
  static Memory* const only = new Memory;  // outlives the tensors of static caches
  return *only;
}

// ---- tensors as kernels see them, and back ----------------------------------------------------------------------------

bool on_card(const at::Tensor& t) { return t.defined() && t.device().type() == kType; }

at::Tensor for_kernel(const at::Tensor& t) {
  if (!on_card(t)) return t;
  if (t.numel() == 0) return at::empty(t.sizes(), at::TensorOptions(t.scalar_type()).device(at::kCPU));  // what is to hold a result grows
  char* const base = static_cast<char*>(memory().near(t.storage().data()));
  const at::Tensor alias = at::from_blob(base + t.storage_offset() * static_cast<int64_t>(t.element_size()), t.sizes(), t.strides(), [](void*) {},
                                         at::TensorOptions(t.scalar_type()).device(at::kCPU));
  if (t.unsafeGetTensorImpl()->is_wrapped_number()) alias.unsafeGetTensorImpl()->set_wrapped_number(true);
  return alias;
}

at::Tensor empty_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides, std::optional<at::ScalarType> dtype, std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &memory(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), dtype.value_or(at::kFloat));
}

at::Tensor to_card(const at::Tensor& made) {
  if (!made.defined()) return made;
  const at::Tensor out = empty_strided(made.sizes(), made.strides(), made.scalar_type(), {}, {}, {});
  for_kernel(out).copy_(made);
  return out;
}

// ---- the fallback -----------------------------------------------------------------------------------------------------

// Calls f(tensor) on every tensor of an argument and returns it with what f gives in their places.
template <class F>
c10::IValue each_tensor(const c10::IValue& value, const F& f) {
  if (value.isTensor()) return f(value.toTensor());
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& t : value.toTensorVector()) list.push_back(f(t));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor>& t : value.toOptionalTensorVector()) list.push_back(t ? std::optional(f(*t)) : t);
    return list;
  }
  if (value.isDevice() && value.toDevice().type() == kType) return c10::Device(at::kCPU);
  return value;
}

// CUDA's operators take numbers from the host, and nothing larger.
void require_one_device(const std::string& name, const std::vector<c10::IValue>& arguments) {
  bool card = false, host = false;
  for (const c10::IValue& argument : arguments)
    each_tensor(argument, [&](const at::Tensor& t) {
      card = card || on_card(t);
      host = host || (t.defined() && !on_card(t) && t.dim() > 0);
      return t;
    });
  TORCH_CHECK(!card || !host, "Expected all tensors to be on the same device, but ", name, " got some on the card and some on the CPU");
}

// What an operator writes into is the caller's tensor; one that it made larger gets new memory.
c10::IValue written(const at::Tensor& callers, const at::Tensor& result) {
  if (result.sizes() == callers.sizes()) return callers;
  const at::Tensor fresh = to_card(result);
  callers.unsafeGetTensorImpl()->set_storage_keep_dtype(fresh.storage());
  callers.unsafeGetTensorImpl()->set_sizes_and_strides(fresh.sizes(), fresh.strides());
  return callers;
}

c10::IValue handed_back(const c10::OperatorHandle& op, std::size_t number, const c10::IValue& result, const std::vector<c10::IValue>& arguments) {
  const c10::FunctionSchema& schema = op.schema();
  const c10::AliasInfo* alias = schema.returns()[number].alias_info();
  if (alias == nullptr) return each_tensor(result, to_card);
  TORCH_CHECK(alias->isWrite(), "the fake card has no view ", schema.name());
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const c10::AliasInfo* given = schema.arguments()[i].alias_info();
    if (given != nullptr && given->isWrite() && given->beforeSets() == alias->beforeSets()) return written(arguments[i].toTensor(), result.toTensor());
  }
  TORCH_CHECK(false, "the fake card does not know what ", schema.name(), " writes");
}

void run_on_host(const c10::OperatorHandle& op, Stack* stack) {
  const c10::FunctionSchema& schema = op.schema();
  const std::vector<c10::IValue> arguments = torch::jit::pop(*stack, schema.arguments().size());
  require_one_device(schema.name(), arguments);
  Stack host;
  for (const c10::IValue& argument : arguments) host.push_back(each_tensor(argument, for_kernel));
  op.callBoxed(&host);
  for (std::size_t i = 0; i < schema.returns().size(); ++i) stack->push_back(handed_back(op, i, host[i], arguments));
}

// ---- operators that the fallback cannot do ----------------------------------------------------------------------------

at::Tensor empty(c10::IntArrayRef sizes, std::optional<at::ScalarType> dtype, std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &memory(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), dtype.value_or(at::kFloat), format);
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  for_kernel(to).copy_(for_kernel(from));
  return to;
}

const at::Tensor& resize(const at::Tensor& self, c10::IntArrayRef sizes, std::optional<at::MemoryFormat>) {
  if (self.sizes() != sizes) written(self, at::empty(sizes, at::TensorOptions(self.scalar_type())));
  return self;
}

at::Tensor as_strided(const at::Tensor& self, c10::IntArrayRef sizes, c10::IntArrayRef strides, std::optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(self, sizes, strides, offset);
}
at::Tensor unfold(const at::Tensor& self, int64_t dim, int64_t size, int64_t step) { return at::native::unfold(self, dim, size, step); }
at::Tensor view(const at::Tensor& self, c10::IntArrayRef sizes) { return at::native::view(self, sizes); }
at::Tensor reshape_alias(const at::Tensor& self, c10::IntArrayRef sizes, c10::IntArrayRef strides) { return at::native::_reshape_alias(self, sizes, strides); }

// ---- what the dispatcher and the gradients' engine ask of a device ----------------------------------------------------

struct Guard : c10::impl::NoOpDeviceGuardImpl<kType> {
  c10::Device exchangeDevice(c10::Device) const override { return {kType, 0}; }
  c10::Device getDevice() const override { return {kType, 0}; }
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, {kType, 0}); }
  c10::Stream getDefaultStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, {kType, 0}); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, {kType, 0}); }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
};

struct Hooks : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  at::Device getDeviceFromPtr(void*) const override { return {kType, 0}; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("_copy_from", copy_from);
  library.impl("resize_", resize);
  library.impl("as_strided", as_strided);
  library.impl("unfold", unfold);
  library.impl("view", view);
  library.impl("_reshape_alias", reshape_alias);
}

}  // namespace

at::Device fake_card() {
  static const bool registered = [] {
    c10::register_privateuse1_backend("fake");
    at::RegisterPrivateUse1HooksInterface(new Hooks);  // ATen keeps it to the end
    c10::SetAllocator(kType, &memory());
    return true;
  }();
  (void)registered;
  return {kType, 0};
}

CardBytes fake_card_bytes(bool reset) { return memory().bytes(reset); }

}  // namespace mla::test
