// The commands that read the run database: table, plot.
#include <algorithm>
#include <iostream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "experiments/commands.h"
#include "plots/figure.h"
#include "results/published.h"
#include "results/published_zoo.h"
#include "results/query.h"
#include "results/table_writer.h"

namespace mla {
namespace {

struct ViewFlags {
  std::string store = "runs.db", name, corpus, protocol, model, method, format, out;
  bool with_published = false;
};

QueryParams params_of(const ViewFlags& flags) {
  QueryParams params;
  if (!flags.corpus.empty()) params["corpus"] = flags.corpus;
  if (!flags.protocol.empty()) params["protocol"] = flags.protocol;
  if (!flags.model.empty()) params["model"] = flags.model;
  if (!flags.method.empty()) params["method"] = flags.method;
  return params;
}

void add_view_flags(CLI::App& command, ViewFlags& flags) {
  command.add_option("--store", flags.store, "Run database [runs.db]");
  command.add_option("--corpus", flags.corpus, "Only rows of this corpus");
  command.add_option("--protocol", flags.protocol, "Only rows of this protocol");
  command.add_option("--model", flags.model, "Only rows of this model");
  command.add_option("--method", flags.method, "Only rows of this method: a label, or the words that it begins with");
}

// "published" is part of the program: it needs no store.
std::vector<std::string> table_names() {
  std::vector<std::string> names = query_names();
  names.push_back("published");
  std::sort(names.begin(), names.end());
  return names;
}

Table make_table(const ViewFlags& flags) {
  if (flags.with_published && flags.name != "zoo") fail<UsageError>("table", "wanted --with-published beside the table zoo, got ", flags.name);
  if (flags.name == "published") return published_table(params_of(flags));
  if (flags.with_published) return published_zoo(Store::open_read_only(flags.store), params_of(flags));
  return run_query(Store::open_read_only(flags.store), flags.name, params_of(flags));
}

void print_table(const ViewFlags& flags) {
  const TableFormat format = parse_table_format(flags.format);
  const std::string text = write_table(make_table(flags), format);
  if (flags.out.empty()) std::cout << text;
  else write_file_atomically(flags.out, text);
}

void draw(const ViewFlags& flags) {
  const Store store = Store::open_read_only(flags.store);
  for (const std::filesystem::path& path : write_figure(store, flags.name, flags.out, params_of(flags))) std::cout << path.string() << '\n';
}

}  // namespace

void add_table_command(CLI::App& app) {
  auto flags = std::make_shared<ViewFlags>();
  flags->name = "zoo";
  flags->format = "text";
  CLI::App* command = app.add_subcommand("table", "Print a table from the run database");
  command->add_option("name", flags->name, "Which: " + join(table_names()) + " [zoo]");
  add_view_flags(*command, *flags);
  command->add_option("--format", flags->format, "text, markdown, latex (booktabs), html, csv or json [text]");
  command->add_flag("--with-published", flags->with_published, "Of zoo: published perplexities beside ours, the difference, and what does not match");
  command->add_option("--out", flags->out, "File to write instead of stdout");
  add_examples(*command,
               "  mlaforge table --store runs.db\n"
               "  mlaforge table zoo --store runs.db --protocol hf-chunk/512/first16 --format markdown\n"
               "  mlaforge table zoo --store runs.db --format csv --out zoo.csv\n"
               "  mlaforge table kld --store runs.db --protocol llama.cpp/512 --format csv\n"
               "  mlaforge table methods --store runs.db --format latex --out methods.tex\n"
               "  mlaforge table zoo --with-published --store runs.db\n"
               "  mlaforge table published --model Llama-2-7B\n");
  command->callback([flags] { print_table(*flags); });
}

void add_plot_command(CLI::App& app) {
  auto flags = std::make_shared<ViewFlags>();
  flags->name = "ppl_vs_cache";
  flags->out = "plots-output";
  CLI::App* command = app.add_subcommand("plot", "Draw a figure from the run database: data file, gnuplot script, PNG, SVG, PDF");
  command->add_option("name", flags->name, "Which: " + join(figure_names()) + " [ppl_vs_cache]");
  add_view_flags(*command, *flags);
  command->add_option("--out", flags->out, "Folder to write to [plots-output]");
  add_examples(*command,
               "  mlaforge plot --store runs.db --out figures\n"
               "  mlaforge plot ppl_vs_cache --store runs.db --corpus wikitext2-tok --protocol hf-chunk/512/first16 --out figures\n"
               "  mlaforge plot spectrum --store runs.db --method 'transmla ff4 r64' --out figures\n"
               "  mlaforge plot needle --store runs.db --corpus niah --out figures\n");
  command->callback([flags] { draw(*flags); });
}

}  // namespace mla
