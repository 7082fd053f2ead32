#include "experiments/bench/bench_run.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "eval/halving.h"
#include "eval/throughput.h"
#include "experiments/build_info.h"
#include "experiments/doctor.h"

namespace mla {
namespace {

constexpr double kMib = 1024.0 * 1024.0;

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(std::min(line.size(), line.find(':') + 2));
  return "unknown";
}

ThroughputLoad load_of(const BenchCase& test, const BenchOptions& options) {
  return {.prompt = test.prompt, .generated = test.generated, .depth = test.depth, .sequences = test.sequences, .chunk = test.chunk, .cache = options.cache};
}

BenchRow row_of(const BenchSide& side, const BenchCase& test, const BenchOptions& options) {
  BenchRow row{.model = side.model, .test = test, .test_time = utc_now(), .memory = options.memory};
  row.largest_batch = largest_batch(side.needs, options.memory, test.depth + test.prompt + test.generated, test.chunk);
  return row;
}

// Who goes at which turn of a repetition.
std::size_t turn(int repetition, std::size_t place, std::size_t sides) { return (static_cast<std::size_t>(repetition) + place) % sides; }

template <class Row>
void add_ratios(std::vector<Row>& rows) {
  for (std::size_t s = 1; s < rows.size(); ++s)
    if (!rows[s].seconds.empty() && rows[s].seconds.size() == rows[0].seconds.size()) rows[s].ratio = paired_ratio(rows[s].rates(), rows[0].rates());
}

// The way in which a side generates, named in its row. A baseline's is the faster one: each is tried, with no other cache in memory.
std::optional<EngineMachine> faster_way(const BenchSide& side, const ThroughputLoad& load, DecodePath decode, BenchModel& model) {
  const bool grouped = std::all_of(side.decoder.layers.begin(), side.decoder.layers.end(), [](const DecoderLayer& layer) { return std::holds_alternative<GqaWeights>(layer.attention); });
  std::optional<EngineMachine> way = load.generated > 0 ? side.engine : std::nullopt;
  model.decode_reason = side.model.decode_reason;
  if (way && grouped && decode == DecodePath::automatic && Throughput(side.decoder, load).seconds_per_step() < Throughput(side.decoder, load, way).seconds_per_step()) {
    way.reset();
    model.decode_reason = "it was faster over a few tokens of the test";
  }
  model.decode = way ? "engine" : "libtorch";
  return way;
}

std::vector<BenchRow> run_case(const std::vector<BenchSide>& sides, const BenchCase& test, const BenchOptions& options) {
  at::set_num_threads(test.threads);
  std::vector<Throughput> loads;
  std::vector<BenchRow> rows;
  for (const BenchSide& side : sides) {
    rows.push_back(row_of(side, test, options));
    loads.emplace_back(side.decoder, load_of(test, options), faster_way(side, load_of(test, options), options.decode, rows.back().model));
    if (options.warm_up) loads.back().warm_up();
  }
  for (int repetition = 0; repetition < options.repetitions; ++repetition)
    for (std::size_t place = 0; place < sides.size(); ++place) {
      BenchRow& row = rows[turn(repetition, place, sides.size())];
      const Throughput::Sample sample = loads[turn(repetition, place, sides.size())].run();
      row.seconds.push_back(sample.seconds);
      row.cache_bytes = sample.cache_bytes;
      row.cache_tokens = sample.cache_tokens;
    }
  for (std::size_t s = 0; s < sides.size(); ++s)
    if (test.prompt == 0) rows[s].generation_bytes = generation_bytes(sides[s].decoder, load_of(test, options), rows[s].cache_bytes_per_token());
  add_ratios(rows);
  return rows;
}

ThroughputLoad load_of(const ProtocolRow& row, int64_t sequences, const BenchOptions& options) {
  return {.prompt = row.cell.prompt(), .generated = row.cell.output(), .sequences = sequences, .chunk = row.chunk, .cache = options.cache};
}

// All requests of a cell by one side, in the way that its row names. Fills the row's cache bytes.
double serve(const BenchSide& side, const BenchOptions& options, ProtocolRow& row) {
  double seconds = 0;
  for (const int64_t sequences : row.cell.batches) {
    Throughput load(side.decoder, load_of(row, sequences, options), row.model.decode == "engine" ? side.engine : std::nullopt);
    const Throughput::Sample sample = load.run();
    seconds += sample.seconds;
    row.cache_bytes = std::max(row.cache_bytes, sample.cache_bytes);
  }
  return seconds;
}

// Chooses the way to generate and runs it once, with half as many sequences at a time until they fit; nothing where not even one does.
void prepare(const BenchSide& side, const BenchOptions& options, ProtocolRow& row) {
  while (!row.cell.batches.empty()) {
    try {
      const ThroughputLoad load = load_of(row, row.cell.batches.front(), options);
      const std::optional<EngineMachine> way = faster_way(side, load, options.decode, row.model);
      if (options.warm_up) Throughput(side.decoder, load, way).warm_up();
      return;
    } catch (const std::exception& error) {
      if (!is_out_of_memory(error)) throw;
      row.cell.largest = row.cell.batches.front() / 2;
      warn("out of memory: " + std::to_string(row.cell.largest) + " sequences of " + std::to_string(row.cell.context) + " tokens at a time");
      row.cell.batches = row.cell.largest > 0 ? batches_of(row.requests, row.cell.largest) : std::vector<int64_t>();
      row.cell.cache_bytes = row.cell.largest > 0 ? row.cell.batches.front() * row.cell.cache_per_sequence : 0;
    }
  }
}

void require_room(const BenchSide& side, const ProtocolRow& row) {
  if (row.cell.batches.empty()) return;
  const int64_t needed = row.cell.cache_bytes + workspace_bytes(side.needs, row.cell.batches.front(), row.cell.context, row.chunk), there = free_memory(side.decoder.device());
  if (needed > there)
    fail<ResourceError>("bench", "wanted ", static_cast<int64_t>(static_cast<double>(needed) / kMib), " MiB for ", row.cell.batches.front(), " sequences of ", row.cell.context,
                        " tokens of ", side.model.label, ", got ", static_cast<int64_t>(static_cast<double>(there) / kMib), " MiB free; use smaller --budgets, or --dry-run for the plan alone");
}

}  // namespace

int64_t free_memory(at::Device device) {
  if (device.is_cuda()) return static_cast<int64_t>(at::accelerator::getMemoryInfo(device.index()).first);
  return static_cast<int64_t>(memory_mib("MemAvailable:") * kMib);
}

BenchMachine this_machine(at::Device device) {
  return {.commit = build_info().git_commit, .version = build_info().version, .cpu = cpu_name(), .gpu = device.is_cuda() ? "CUDA device " + std::to_string(device.index()) : "",
          .copy_bytes_per_second = copy_bandwidth(device)};
}

void choose_engines(std::vector<BenchSide>& sides, const BenchOptions& options) {
  for (BenchSide& side : sides) {
    DecodeWay way = decode_way(options.decode, side.decoder, options.cache, false);
    side.model.decode = way.name();
    side.model.decode_reason = way.reason;
    side.engine = std::move(way.engine);
    if (!side.engine) continue;
    side.needs.cache = [cache = side.needs.cache](int64_t tokens) { return cache((tokens + gpu::kPageTokens - 1) / gpu::kPageTokens * gpu::kPageTokens); };
  }
}

void run_cases(const std::vector<BenchSide>& sides, const std::vector<BenchCase>& cases, const BenchOptions& options, const std::function<void(const std::vector<BenchRow>&)>& done) {
  for (std::size_t i = 0; i < cases.size(); ++i) {
    status("Timing", name_of(cases[i]) + " (" + std::to_string(i + 1) + "/" + std::to_string(cases.size()) + ")");
    if (options.delay_seconds > 0) std::this_thread::sleep_for(std::chrono::duration<double>(options.delay_seconds));
    done(run_case(sides, cases[i], options));
  }
}

std::vector<std::vector<ProtocolRow>> protocol_rows(const std::vector<BenchSide>& sides, const ProtocolOptions& protocol) {
  std::vector<std::vector<ProtocolRow>> cells;
  for (const BenchSide& side : sides) {
    const std::vector<ProtocolCell> planned = plan_protocol(side.needs, protocol);
    cells.resize(planned.size());
    for (std::size_t i = 0; i < planned.size(); ++i)
      cells[i].push_back({.model = side.model, .cell = planned[i], .requests = protocol.requests, .chunk = protocol.chunk, .test_time = utc_now()});
  }
  return cells;
}

void run_protocol(const std::vector<BenchSide>& sides, const ProtocolOptions& protocol, const BenchOptions& options, const std::function<void(const std::vector<ProtocolRow>&)>& done) {
  for (std::vector<ProtocolRow>& rows : protocol_rows(sides, protocol)) {
    status("Serving", std::to_string(protocol.requests) + " requests of " + std::to_string(rows[0].cell.context) + " tokens");
    for (std::size_t s = 0; s < sides.size(); ++s) {
      require_room(sides[s], rows[s]);
      rows[s].test_time = utc_now();
      if (options.warm_up || sides[s].engine) prepare(sides[s], options, rows[s]);
    }
    for (int repetition = 0; repetition < options.repetitions; ++repetition)
      for (std::size_t place = 0; place < sides.size(); ++place) {
        ProtocolRow& row = rows[turn(repetition, place, sides.size())];
        if (!row.cell.batches.empty()) row.seconds.push_back(serve(sides[turn(repetition, place, sides.size())], options, row));
      }
    add_ratios(rows);
    done(rows);
  }
}

}  // namespace mla
