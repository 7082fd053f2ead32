// mlaforge-models: the whole program. `mlaforge` (front.cpp) becomes it for every command that may need a model.
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <malloc.h>

#include "core/base/process.h"
#include "eval/halving.h"
#include "experiments/bench/grammar.h"
#include "experiments/program.h"

namespace mla {
namespace {

void add_commands(CLI::App& app) {
  add_run_command(app);
  add_convert_command(app);
  add_compare_command(app);
  add_bench_command(app);
  add_eval_command(app);
  add_export_command(app);
  add_export_model_command(app);
  add_generate_command(app);
  add_inspect_command(app);
  add_store_commands(app);
  add_methods_command(app);
  add_sweep_command(app);
  add_tasks_command(app);
  add_doctor_command(app);
}

std::optional<Failure> explain(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  if (torch == nullptr) return std::nullopt;
  if (is_out_of_memory(error)) return Failure{kResource, std::string("[memory] ") + torch->what_without_backtrace()};
  return Failure{kFailed, std::string("[libtorch] ") + torch->what_without_backtrace()};
}

}  // namespace
}  // namespace mla

int main(int argc, char** argv) {
  // Tensors of one layer come and go thousands of times. Mapped afresh, each costs a page fault per 4 KiB, which on some machines is
  // most of a run; kept in the heap, they cost nothing.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
  const c10::InferenceMode no_autograd;
  mla::install_interrupt_handler();
  return mla::run_program(argc, argv, {mla::add_commands, mla::explain, mla::bench_words});
}
