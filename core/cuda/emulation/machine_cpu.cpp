#include "core/cuda/emulation/machine_cpu.h"

#include <array>
#include <csetjmp>
#include <deque>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include <ucontext.h>

#include "core/cuda/emulation/block_state.h"

namespace mla::gpu::emulation {
namespace {

constexpr std::size_t kStack = 256 * 1024, kSlot = 64, kAlignment = 1024;  // of shared memory

struct Barrier {
  unsigned expected = 0, arrived = 0;
  uint64_t generation = 0;
};

struct Copy {
  void* to;
  const void* from;
  std::size_t size;
  bool valid;
};

struct Fiber {
  std::unique_ptr<unsigned char[]> stack = std::make_unique<unsigned char[]>(kStack);
  ucontext_t start{};
  jmp_buf place{};
  bool started = false, ended = false;
  const Barrier* waits_for = nullptr;
  uint64_t generation = 0;  // of that barrier, when it began to wait
  unsigned exchanges = 0;
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> closed;
};

struct Warp {
  Barrier barrier;
  alignas(16) unsigned char slots[2][32 * kSlot];
};

struct NamedBarrier {
  Barrier barrier;
  std::vector<bool> here;  // threads of this round
};

// One block at a time, on one thread of the process.
struct Machine {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  Barrier block;
  std::array<NamedBarrier, 16> named;
  std::vector<unsigned char> shared;
  unsigned char* shared_start = nullptr;
  AsyncProxy proxy;
  const std::function<void()>* body = nullptr;
  Fiber* now = nullptr;
  jmp_buf scheduler{};
  Order order = Order::forward;
  std::mt19937_64 random;
  std::exception_ptr error;
};
Machine machine;

void yield() {
  if (_setjmp(machine.now->place) == 0) _longjmp(machine.scheduler, 1);
}

void wait_at(Barrier& barrier) {
  if (++barrier.arrived == barrier.expected) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  machine.now->waits_for = &barrier;
  machine.now->generation = barrier.generation;
  yield();
  machine.now->waits_for = nullptr;
}

void enter() {
  try {
    (*machine.body)();
  } catch (...) {
    machine.error = std::current_exception();
  }
  machine.now->ended = true;
  _longjmp(machine.scheduler, 1);
}

bool can_run(const Fiber& fiber) { return !fiber.ended && (fiber.waits_for == nullptr || fiber.waits_for->generation != fiber.generation); }

// Until the fiber yields or ends.
void resume(Fiber& fiber, unsigned index) {
  machine.now = &fiber;
  threadIdx = {index, 0, 0};
  if (_setjmp(machine.scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.place, 1);
  fiber.started = true;
  setcontext(&fiber.start);
}

void prepare(Fiber& fiber) {
  fiber.started = fiber.ended = false;
  fiber.waits_for = nullptr;
  fiber.exchanges = 0;
  fiber.open.clear();
  fiber.closed.clear();
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack.get();
  fiber.start.uc_stack.ss_size = kStack;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, enter, 0);
}

void prepare_block(unsigned threads, std::size_t shared_bytes) {
  while (machine.fibers.size() < threads) machine.fibers.push_back(std::make_unique<Fiber>());
  for (unsigned i = 0; i < threads; ++i) prepare(*machine.fibers[i]);
  machine.warps.assign((threads + 31) / 32, {});
  for (std::size_t w = 0; w < machine.warps.size(); ++w)
    machine.warps[w].barrier.expected = std::min<unsigned>(32, threads - 32 * static_cast<unsigned>(w));
  machine.block = {threads, 0, 0};
  machine.named.fill({});
  machine.shared.assign(shared_bytes + kAlignment, 0xff);
  machine.shared_start = machine.shared.data() + (kAlignment - reinterpret_cast<uintptr_t>(machine.shared.data()) % kAlignment) % kAlignment;
  machine.proxy.reset(machine.shared_start, shared_bytes, threads);
  reset_products(threads);
  machine.error = nullptr;
}

void run(Copy& copy) {
  if (copy.valid) std::memcpy(copy.to, copy.from, copy.size);
  else std::memset(copy.to, 0, copy.size);
  machine.proxy.wrote(threadIdx.x, copy.to, copy.size);
}

}  // namespace

void set_order(Order order, uint64_t seed) {
  machine.order = order;
  machine.random.seed(seed);
}

void run_block(unsigned threads, std::size_t shared_bytes, const std::function<void()>& body) {
  machine.body = &body;
  prepare_block(threads, shared_bytes);
  std::vector<unsigned> turns(threads);
  std::iota(turns.begin(), turns.end(), 0u);
  if (machine.order == Order::backward || machine.order == Order::last_ahead) std::reverse(turns.begin(), turns.end());
  const bool rounds = machine.order != Order::first_ahead && machine.order != Order::last_ahead;
  for (unsigned ended = 0; ended < threads;) {
    if (machine.order == Order::drawn) std::shuffle(turns.begin(), turns.end(), machine.random);
    bool moved = false;
    for (const unsigned i : turns) {
      Fiber& fiber = *machine.fibers[i];
      if (!can_run(fiber)) continue;
      resume(fiber, i);
      moved = true;
      if (fiber.ended) ++ended;
      if (machine.error) std::rethrow_exception(machine.error);
      if (!rounds) break;
    }
    if (!moved) throw std::logic_error("[emulation] a barrier that not every thread of the block or warp reaches");
  }
}

unsigned char* shared_memory() { return machine.shared_start; }
void block_barrier() { wait_at(machine.block); }
void warp_barrier() { wait_at(machine.warps[threadIdx.x / 32].barrier); }
AsyncProxy& async_proxy() { return machine.proxy; }

void named_barrier(unsigned id, unsigned threads, bool wait) {
  NamedBarrier& named = machine.named.at(id);
  if (named.barrier.arrived == 0) {
    named.barrier.expected = threads;
    named.here.assign(machine.warps.size() * 32, false);
  }
  if (named.barrier.expected != threads) throw std::logic_error("[emulation] a barrier whose threads do not agree on their number");
  if (named.here[threadIdx.x]) throw std::logic_error("[emulation] a thread that comes to a barrier twice in one round");
  named.here[threadIdx.x] = true;
  if (wait) return wait_at(named.barrier);
  if (++named.barrier.arrived == threads) {
    named.barrier.arrived = 0;
    ++named.barrier.generation;
  }
  yield();  // those that waited may be ahead of what this thread does next
}

const unsigned char* exchange(const void* mine, std::size_t size) {
  Warp& warp = machine.warps[threadIdx.x / 32];
  unsigned char* slots = warp.slots[machine.now->exchanges++ % 2];
  std::memcpy(slots + kSlot * (threadIdx.x % 32), mine, size);
  wait_at(warp.barrier);
  return slots;
}

void begin_copy(void* to, const void* from, std::size_t size, bool valid) {
  machine.proxy.may_write(to, size);
  machine.now->open.push_back({to, from, size, valid});
}
void close_copies() {
  machine.now->closed.push_back(std::move(machine.now->open));
  machine.now->open.clear();
}
void await_copies(std::size_t open) {
  std::deque<std::vector<Copy>>& closed = machine.now->closed;
  for (; closed.size() > open; closed.pop_front())
    for (Copy& copy : closed.front()) run(copy);
}

}  // namespace mla::gpu::emulation
