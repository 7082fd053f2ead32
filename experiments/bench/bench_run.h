// Times the sides of a benchmark turn by turn: every repetition goes through all of them, beginning with another one each time, so that
// what else the machine does hits all alike.
#pragma once
#include <functional>
#include <vector>

#include "core/engine/decode_path.h"
#include "experiments/bench/sides.h"

namespace mla {

struct BenchOptions {
  int repetitions = 5;
  bool warm_up = true;
  double delay_seconds = 0;  // before each test
  int64_t memory = 0;        // bytes of which the largest batch is counted: of the device before anything was loaded, or as asked for
  CacheFormat cache;
  DecodePath decode = DecodePath::automatic;
};

// Bytes that are free: of the host what the kernel says is available.
int64_t free_memory(at::Device device);
BenchMachine this_machine(at::Device device);

// What generates for each side, as options.decode has it; caches in pages are counted page by page then. Throws as decode_way() does.
void choose_engines(std::vector<BenchSide>& sides, const BenchOptions& options);

// Each test's rows, one per side, as soon as it is done. A side whose layers are all of grouped queries, the baseline, generates by the faster of
// engine and LibTorch under `auto`: each is tried before the clock starts, over a few tokens of the test. Throws as Throughput does, and what the allocator throws where sequences do not fit.
void run_cases(const std::vector<BenchSide>& sides, const std::vector<BenchCase>& cases, const BenchOptions& options,
               const std::function<void(const std::vector<BenchRow>&)>& done);

// TransMLA's protocol, cell by cell: the seconds in which all requests were served, prompts included. A batch that runs out of memory all
// the same is halved, which is warned of and seen in the row. Throws ResourceError before a cell that this machine cannot hold.
void run_protocol(const std::vector<BenchSide>& sides, const ProtocolOptions& protocol, const BenchOptions& options,
                  const std::function<void(const std::vector<ProtocolRow>&)>& done);
// Its rows without running anything.
std::vector<std::vector<ProtocolRow>> protocol_rows(const std::vector<BenchSide>& sides, const ProtocolOptions& protocol);

}  // namespace mla
