#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "core/base/names.h"
#include "experiments/bench/bench_run.h"
#include "experiments/bench/bench_store.h"
#include "experiments/commands.h"
#include "experiments/data_root.h"
#include "experiments/decode_flag.h"

namespace mla {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

struct BenchFlags {
  SideFlags sides;
  std::vector<std::string> prompts, generated, pairs, depths, chunks, sequences, threads, contexts;  // in llama-bench's grammar
  ProtocolOptions protocol;
  std::string protocol_name = "llama-bench", decode = "auto", output = "md", output_err, store = "runs.db";
  std::optional<int> repetitions;
  double memory_gib = 0, delay = 0;
  bool no_warm_up = false, dry_run = false, no_store = false;
};

std::vector<int64_t> numbers_of(const std::vector<std::string>& texts, const std::string& flag, int64_t least, std::vector<int64_t> fallback) {
  if (texts.empty()) return fallback;
  std::vector<int64_t> all;
  for (const std::string& text : texts)
    for (const int64_t number : parse_numbers(text, flag, least)) all.push_back(number);
  return all;
}

std::vector<int64_t> threads_of(const BenchFlags& flags) { return numbers_of(flags.threads, "--threads", 1, {at::get_num_threads()}); }

std::vector<BenchCase> cases_of(const BenchFlags& flags) {
  BenchGrid grid;
  const bool pairs_alone = !flags.pairs.empty() && flags.prompts.empty() && flags.generated.empty();
  grid.prompts = numbers_of(flags.prompts, "--n-prompt", 0, pairs_alone ? std::vector<int64_t>{} : std::vector<int64_t>{512});
  grid.generated = numbers_of(flags.generated, "--n-gen", 0, pairs_alone ? std::vector<int64_t>{} : std::vector<int64_t>{128});
  for (const std::string& pair : flags.pairs) grid.pairs.push_back(parse_pair(pair, "-pg"));
  grid.depths = numbers_of(flags.depths, "--n-depth", 0, {0});
  grid.chunks = numbers_of(flags.chunks, "--batch-size", 1, {2048});
  grid.sequences = numbers_of(flags.sequences, "--sequences", 1, {1});
  grid.threads = threads_of(flags);
  return cases_of(grid);
}

ProtocolOptions protocol_of(const BenchFlags& flags) {
  ProtocolOptions protocol = flags.protocol;
  protocol.contexts = numbers_of(flags.contexts, "--contexts", 2, protocol.contexts);
  const std::vector<int64_t> chunks = numbers_of(flags.chunks, "--batch-size", 1, {2048});
  if (chunks.size() != 1 || threads_of(flags).size() != 1) fail<UsageError>("bench", "wanted one --batch-size and one --threads under --protocol transmla, got several");
  for (const auto* given : {&flags.prompts, &flags.generated, &flags.pairs, &flags.depths, &flags.sequences})
    if (!given->empty()) fail<UsageError>("bench", "wanted --contexts and --budgets under --protocol transmla, which sizes prompts and batches itself, got ", given->front(), " for a test of llama-bench");
  protocol.chunk = chunks.front();
  check_protocol(protocol);
  return protocol;
}

// stdout, and stderr where it is asked for.
class Output {
 public:
  Output(const BenchFlags& flags, const char* table, const std::vector<BenchColumn>& columns) {
    printers_.emplace_back(std::cout, flags.output, table, columns);
    if (!flags.output_err.empty()) printers_.emplace_back(std::cerr, flags.output_err, table, columns);
  }
  void begin() { for (BenchPrinter& printer : printers_) printer.begin(); }
  void add(const BenchRecord& record) { for (BenchPrinter& printer : printers_) printer.add(record); }
  void end(const std::string& closing) { for (BenchPrinter& printer : printers_) printer.end(closing); }

 private:
  std::vector<BenchPrinter> printers_;
};

// What both protocols do alike: sides, printer, store.
template <class Row>
class Session {
 public:
  Session(const BenchFlags& flags, const char* table, const std::vector<BenchColumn>& columns) : output_(flags, table, columns) {
    const at::Device device = parse_device(flags.sides.device);
    options.repetitions = flags.repetitions.value_or(flags.protocol_name == "transmla" ? 1 : 5);
    options.warm_up = !flags.no_warm_up;
    options.delay_seconds = flags.delay;
    options.cache = cache_format(flags.sides.cache, parse_dtype(flags.sides.dtype));
    options.memory = flags.memory_gib > 0 ? static_cast<int64_t>(flags.memory_gib * kGib) : free_memory(device);
    options.decode = parse_decode_path(flags.decode);
    sides = flags.dry_run ? plan_sides(flags.sides) : load_sides(flags.sides);
    if (!flags.dry_run) choose_engines(sides, options);
    machine = flags.dry_run ? BenchMachine{} : this_machine(device);
    if (!flags.dry_run && !flags.no_store) store_.emplace(Store::open(flags.store));
    output_.begin();
  }
  void add(const std::vector<Row>& rows) {
    for (std::size_t s = 0; s < rows.size(); ++s) {
      if (store_) store_row(*store_, sides[s], rows[s], machine);
      output_.add(record_of(rows[s], machine));
    }
  }
  void end() { output_.end(machine.commit.empty() ? "A plan: nothing was run." : closing_line(machine)); }

  BenchOptions options;
  std::vector<BenchSide> sides;
  BenchMachine machine;

 private:
  Output output_;
  std::optional<Store> store_;
};

void plan_cases(Session<BenchRow>& session, const std::vector<BenchCase>& cases) {
  for (const BenchCase& test : cases) {
    std::vector<BenchRow> rows;
    for (const BenchSide& side : session.sides) {
      const int64_t context = test.depth + test.prompt + test.generated;
      rows.push_back({.model = side.model, .test = test, .memory = session.options.memory});
      rows.back().largest_batch = largest_batch(side.needs, session.options.memory, context, test.chunk);
      rows.back().cache_bytes = test.sequences * side.needs.cache(context);
      rows.back().cache_tokens = test.sequences * context;
    }
    session.add(rows);
  }
}

void bench_cases(const BenchFlags& flags) {
  const std::vector<BenchCase> cases = cases_of(flags);
  Session<BenchRow> session(flags, "mlaforge_bench", bench_columns());
  if (flags.dry_run) plan_cases(session, cases);
  else run_cases(session.sides, cases, session.options, [&](const std::vector<BenchRow>& rows) { session.add(rows); });
  session.end();
}

void bench_protocol(const BenchFlags& flags) {
  const ProtocolOptions protocol = protocol_of(flags);
  Session<ProtocolRow> session(flags, "mlaforge_transmla", protocol_columns());
  if (flags.dry_run)
    for (const std::vector<ProtocolRow>& rows : protocol_rows(session.sides, protocol)) session.add(rows);
  else run_protocol(session.sides, protocol, session.options, [&](const std::vector<ProtocolRow>& rows) { session.add(rows); });
  session.end();
}

void bench(BenchFlags flags) {
  const auto known = [](const std::string& format) {
    if (std::find(bench_formats().begin(), bench_formats().end(), format) == bench_formats().end()) fail<UsageError>("bench", "unknown format '", format, "'", known_names_hint(format, bench_formats()));
  };
  known(flags.output);
  if (!flags.output_err.empty()) known(flags.output_err);
  const std::vector<int64_t> threads = threads_of(flags);
  flags.sides.threads = static_cast<int>(*std::max_element(threads.begin(), threads.end()));
  if (!flags.dry_run && !flags.no_store) require_writable_store(flags.store);
  if (flags.protocol_name == "transmla") bench_protocol(flags);
  else bench_cases(flags);
}

void add_list(CLI::App& command, const char* names, std::vector<std::string>& texts, const char* meaning) {
  command.add_option(names, texts, meaning)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

}  // namespace

void add_bench_command(CLI::App& app) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command = app.add_subcommand("bench", "How fast models read and generate, side by side, in llama-bench's grammar");
  add_side_flags(*command, flags->sides);
  add_list(*command, "-p,--n-prompt", flags->prompts, "Tokens of prompts: numbers and ranges (512,1024 or 128-2048*2); 0 leaves the test out [512]");
  add_list(*command, "-n,--n-gen", flags->generated, "Tokens that are generated [128]");
  add_list(*command, "--prompt-gen", flags->pairs, "-pg P,N: a prompt and what follows it, timed as one");
  add_list(*command, "-d,--n-depth", flags->depths, "Tokens in the cache before the clock starts [0]");
  add_list(*command, "-b,--batch-size", flags->chunks, "Tokens of prompts that are read at once [2048]");
  add_list(*command, "--sequences", flags->sequences, "-npl N: sequences side by side in one batch [1]");
  add_list(*command, "-t,--threads", flags->threads, "CPU threads [all cores]");
  command->add_option("-r,--repetitions", flags->repetitions, "Repetitions of each test, which go through all models in turn [5; 1 under transmla]")->check(CLI::Range(1, 100000));
  command->add_option("-o,--output", flags->output, join(bench_formats(), " | ") + " [md]");
  command->add_option("--output-err", flags->output_err, "-oe FORMAT: the same on stderr");
  command->add_flag("--no-warmup", flags->no_warm_up, "Start the clock without having run the test before");
  command->add_option("--delay", flags->delay, "Seconds to wait before each test [0]")->check(CLI::NonNegativeNumber);
  command->add_option("--memory", flags->memory_gib, "GiB of which the largest batch is counted [what is free]")->check(CLI::PositiveNumber);
  add_decode_flag(*command, flags->decode, ", and of a baseline the faster one");
  command->add_option("--protocol", flags->protocol_name, "llama-bench, or transmla: requests of half prompt, half output in batches as large as a memory allows [llama-bench]")
      ->check(CLI::IsMember({"llama-bench", "transmla"}));
  command->add_option("--requests", flags->protocol.requests, "Of transmla: requests of each context [100]")->check(CLI::Range(1, 1000000));
  add_list(*command, "--contexts", flags->contexts, "Of transmla: tokens of a request, half prompt, half output [1024-32768*2]");
  command->add_option("--budgets", flags->protocol.budgets, "Of transmla: memories in GiB, by commas [24,40,64]")->delimiter(',');
  command->add_flag("--dry-run", flags->dry_run, "Print the plan (batches, cache bytes) and run nothing");
  command->add_option("--store", flags->store, "Run database, made when it is not there [runs.db]");
  command->add_flag("--no-store", flags->no_store, "Print alone");
  add_examples(*command,
               "  mlaforge bench --model model.gguf -p 128,512 -n 32 -r 5\n"
               "  mlaforge bench --model model.gguf --model converted -n 64 -d 0,1024-8192*2 -o csv\n"
               "  mlaforge bench --model model.gguf --method transmla --freqfold 4 --cache-values 192 --cal-dataset debian-faq -p 0 -n 64 -d 1024\n"
               "  mlaforge bench --shape llama-2-7b --layers 2 --mla 512+64 --dtype bf16 -p 0 -n 16 -d 4096 -npl 1-16*4\n"
               "  mlaforge bench --shape llama-2-7b --mla 512+64 --dtype bf16 --protocol transmla --dry-run\n"
               "  mlaforge bench --model model.gguf -o sql --no-store | sqlite3 bench.db\n");
  command->callback([flags] { bench(*flags); });
}

}  // namespace mla
