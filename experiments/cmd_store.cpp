// The commands that read the run database: table, plot, runs.
#include <iostream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/base/progress.h"
#include "experiments/commands.h"
#include "experiments/recording.h"
#include "experiments/run_options.h"
#include "plots/figure.h"
#include "results/query.h"
#include "results/table_writer.h"

namespace mla {
namespace {

struct ViewFlags {
  std::string store = "runs.db", name, corpus, protocol, model, format, out;
  int64_t run_id = 0, remove = 0;
};

QueryParams params_of(const ViewFlags& flags) {
  QueryParams params;
  if (!flags.corpus.empty()) params["corpus"] = flags.corpus;
  if (!flags.protocol.empty()) params["protocol"] = flags.protocol;
  if (!flags.model.empty()) params["model"] = flags.model;
  return params;
}

void add_view_flags(CLI::App& command, ViewFlags& flags) {
  command.add_option("--store", flags.store, "Run database [runs.db]");
  command.add_option("--corpus", flags.corpus, "Only rows of this corpus");
  command.add_option("--protocol", flags.protocol, "Only rows of this protocol");
  command.add_option("--model", flags.model, "Only rows of this model");
}

void print_table(const ViewFlags& flags) {
  const TableFormat format = parse_table_format(flags.format);
  const Store store = Store::open_read_only(flags.store);
  const std::string text = write_table(run_query(store, flags.name, params_of(flags)), format);
  if (flags.out.empty()) std::cout << text;
  else write_file_atomically(flags.out, text);
}

void draw(const ViewFlags& flags) {
  const Store store = Store::open_read_only(flags.store);
  for (const std::filesystem::path& path : write_figure(store, flags.name, flags.out, params_of(flags))) std::cout << path.string() << '\n';
}

void list_runs(const ViewFlags& flags) {
  if (flags.remove > 0) {
    Store store = Store::open(flags.store);
    store.remove_run(flags.remove);
    status("Removed", "run " + std::to_string(flags.remove));
    return;
  }
  const Store store = Store::open_read_only(flags.store);
  if (flags.run_id > 0) std::cout << store.run_json(flags.run_id).dump(2) << '\n';
  else std::cout << write_table(run_query(store, "runs", params_of(flags)), parse_table_format(flags.format));
}

}  // namespace

void add_table_command(CLI::App& app) {
  auto flags = std::make_shared<ViewFlags>();
  flags->name = "zoo";
  flags->format = "text";
  CLI::App* command = app.add_subcommand("table", "Print a table from the run database");
  command->add_option("name", flags->name, "Which: " + join(query_names()) + " [zoo]");
  add_view_flags(*command, *flags);
  command->add_option("--format", flags->format, "text, markdown, csv or json [text]");
  command->add_option("--out", flags->out, "File to write instead of stdout");
  add_examples(*command,
               "  mlaforge table --store runs.db\n"
               "  mlaforge table zoo --store runs.db --protocol hf-chunk/512/first16 --format markdown\n"
               "  mlaforge table zoo --store runs.db --format csv --out zoo.csv\n"
               "  mlaforge table kld --store runs.db --protocol llama.cpp/512 --format csv\n"
               "  mlaforge table longbench --store runs.db\n");
  command->callback([flags] { print_table(*flags); });
}

void add_plot_command(CLI::App& app) {
  auto flags = std::make_shared<ViewFlags>();
  flags->name = "ppl_vs_cache";
  flags->out = "plots-output";
  CLI::App* command = app.add_subcommand("plot", "Draw a figure from the run database: data file, gnuplot script, PNG, SVG");
  command->add_option("name", flags->name, "Which: " + join(figure_names()) + " [ppl_vs_cache]");
  add_view_flags(*command, *flags);
  command->add_option("--out", flags->out, "Folder to write to [plots-output]");
  add_examples(*command,
               "  mlaforge plot --store runs.db --out figures\n"
               "  mlaforge plot ppl_vs_cache --store runs.db --corpus wikitext2-tok --protocol hf-chunk/512/first16 --out figures\n"
               "  mlaforge plot needle --store runs.db --corpus niah --out figures\n");
  command->callback([flags] { draw(*flags); });
}

void add_runs_command(CLI::App& app) {
  auto flags = std::make_shared<ViewFlags>();
  flags->format = "text";
  CLI::App* command = app.add_subcommand("runs", "List the runs of the database, show one whole, or remove one");
  command->add_option("id", flags->run_id, "Print everything that is stored of this run, as JSON")->check(CLI::PositiveNumber);
  add_view_flags(*command, *flags);
  command->add_option("--remove", flags->remove, "Remove this run and its rows")->check(CLI::PositiveNumber);
  command->add_option("--format", flags->format, "text, markdown, csv or json [text]");
  add_examples(*command,
               "  mlaforge runs --store runs.db\n"
               "  mlaforge runs 3 --store runs.db\n"
               "  mlaforge runs --remove 3 --store runs.db\n");
  command->callback([flags] { list_runs(*flags); });
}

}  // namespace mla
