// Results in other programs' formats.
#include <iostream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "experiments/commands.h"
#include "experiments/run_options.h"
#include "results/lm_eval_export.h"
#include "results/lm_eval_table.h"

namespace mla {
namespace {

struct ExportFlags {
  LmEvalSelection selection;
  std::string store = "runs.db", format = "lm-eval", out, samples;
};

void write_samples(const Store& store, const ExportFlags& flags) {
  const std::filesystem::path folder = flags.samples;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail<ResourceError>("export", "cannot make ", folder.string(), ": ", error.message(), "; choose another --log-samples");
  for (const LmEvalSamples& samples : lm_eval_samples(store, flags.selection)) {
    write_file_atomically(folder / samples.file_name, samples.text);
    status("Wrote", (folder / samples.file_name).string());
  }
}

void export_runs(const ExportFlags& flags) {
  const Store store = Store::open_read_only(flags.store);
  const nlohmann::ordered_json results = lm_eval_results(store, flags.selection);
  const std::string text = flags.format == "lm-eval" ? results.dump(2, ' ', false, Json::error_handler_t::replace) + '\n' : write_lm_eval_table(results);
  if (!flags.samples.empty()) write_samples(store, flags);
  if (flags.out.empty()) std::cout << text;
  else write_file_atomically(flags.out, text);
}

}  // namespace

void add_export_command(CLI::App& app) {
  auto flags = std::make_shared<ExportFlags>();
  CLI::App* command = app.add_subcommand("export", "Write answered tasks as lm-evaluation-harness writes its results");
  command->add_option("runs", flags->selection.runs, "Runs over tasks, of one model [all finished ones]")->check(CLI::PositiveNumber);
  command->add_option("--format", flags->format, "lm-eval (its results file) | lm-eval-table (the Markdown table it prints) [lm-eval]")->check(CLI::IsMember({"lm-eval", "lm-eval-table"}));
  command->add_option("--store", flags->store, "Run database [runs.db]");
  command->add_option("--model", flags->selection.model, "Where no run is named: those of this model");
  command->add_option("--stage", flags->selection.stage, "original or mla, of runs with both [mla where there is one]")->check(CLI::IsMember({"original", "mla"}));
  command->add_option("--out", flags->out, "File to write instead of stdout");
  command->add_option("--log-samples", flags->samples, "Also write samples_TASK_DATE.jsonl per task into this folder");
  add_examples(*command,
               "  mlaforge export --format lm-eval --store runs.db --out results.json\n"
               "  mlaforge export 3 4 5 --store runs.db --format lm-eval-table\n"
               "  mlaforge export 3 --store runs.db --stage original --out results.json --log-samples samples\n");
  command->callback([flags] { export_runs(*flags); });
}

}  // namespace mla
