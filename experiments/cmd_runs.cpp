// The runs of a store as whole things: list, show, compare, tag, remove, export, merge, clean.
#include <iostream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "experiments/commands.h"
#include "experiments/outcome.h"
#include "results/query.h"
#include "results/run_admin.h"
#include "results/run_diff.h"
#include "results/run_export.h"
#include "results/table_writer.h"

namespace mla {
namespace {

struct RunsFlags {
  std::string store = "runs.db", corpus, protocol, model, format = "text", out, name;
  std::vector<int64_t> ids;
  std::vector<std::string> stores;
  int64_t id = 0, remove = 0;
  bool removes_tag = false, all_unfinished = false, superseded = false;
};

void list(const RunsFlags& flags) {
  QueryParams params;
  for (const auto& [name, value] : {std::pair{"corpus", flags.corpus}, {"protocol", flags.protocol}, {"model", flags.model}})
    if (!value.empty()) params[name] = value;
  std::cout << write_table(run_query(Store::open_read_only(flags.store), "runs", params), parse_table_format(flags.format));
}

void show(const RunsFlags& flags) { std::cout << Store::open_read_only(flags.store).run_json(flags.ids.at(0)).dump(2) << '\n'; }

void diff(const RunsFlags& flags) {
  if (flags.ids.size() != 2) fail<UsageError>("runs", "wanted two runs to compare, got ", flags.ids.size());
  std::cout << write_table(diff_runs(Store::open_read_only(flags.store), flags.ids[0], flags.ids[1]), parse_table_format(flags.format));
}

void tag(const RunsFlags& flags) {
  Store store = Store::open(flags.store);
  if (!flags.removes_tag) tag_run(store, flags.id, flags.name);
  else if (!untag_run(store, flags.id, flags.name)) fail<ConfigError>("runs", "wanted a tag that run ", flags.id, " has, got '", flags.name, "'");
}

void remove(Store& store, const std::vector<int64_t>& ids) {
  for (const int64_t id : ids) {
    store.remove_run(id);
    status("Removed", "run " + std::to_string(id));
  }
}

void export_all(const RunsFlags& flags) {
  const std::string text = export_runs(Store::open_read_only(flags.store), flags.format);
  if (flags.out.empty()) std::cout << text;
  else write_file_atomically(flags.out, text);
}

void merge(const RunsFlags& flags) {
  for (const std::string& path : flags.stores) Store::open_read_only(path);  // all are readable, or nothing is merged
  Store into = Store::open(flags.store);
  for (const std::string& path : flags.stores) {
    const MergeReport report = merge_runs(into, Store::open_read_only(path));
    std::cout << path << ": " << report.added << " runs added, " << report.known << " known already, " << report.unfinished << " unfinished left out, " << report.jobs
              << " jobs of sweeps\n";
  }
}

void clean(const RunsFlags& flags) {
  Store store = Store::open(flags.store);
  const GcReport report = collect_garbage(store, flags.all_unfinished, flags.superseded);
  std::cout << report.unfinished << " unfinished runs, " << report.superseded << " superseded runs and " << report.jobs << " jobs without a sweep removed\n";
}

// The subcommand `name`; its flags and ids are the parent's own.
CLI::App* add(CLI::App& runs, const char* name, const char* about, const std::shared_ptr<RunsFlags>& flags, void (*call)(const RunsFlags&)) {
  CLI::App* command = runs.add_subcommand(name, about);
  command->add_option("--store", flags->store, "Run database [runs.db]");
  command->callback([flags, call] { call(*flags); });
  return command;
}

void add_format(CLI::App& command, RunsFlags& flags) { command.add_option("--format", flags.format, "text, markdown, csv or json [text]"); }

void add_list_flags(CLI::App& command, RunsFlags& flags) {
  command.add_option("--corpus", flags.corpus, "Only rows of this corpus");
  command.add_option("--protocol", flags.protocol, "Only rows of this protocol");
  command.add_option("--model", flags.model, "Only rows of this model");
  add_format(command, flags);
}

void add_subcommands(CLI::App& runs, const std::shared_ptr<RunsFlags>& flags) {
  add_list_flags(*add(runs, "list", "One line a run", flags, list), *flags);
  add(runs, "show", "Everything that is stored of a run, as JSON", flags, show)->add_option("id", flags->ids, "Run")->required()->expected(1);
  CLI::App* compare = add(runs, "diff", "Two runs side by side: settings that differ, every metric with its difference", flags, diff);
  compare->add_option("ids", flags->ids, "Two runs")->required()->expected(2);
  add_format(*compare, *flags);
  CLI::App* label = add(runs, "tag", "Give a run a name of your own, or take it away", flags, tag);
  label->add_option("id", flags->id, "Run")->required();
  label->add_option("name", flags->name, "Tag")->required();
  label->add_flag("--remove", flags->removes_tag, "Take it away");
  CLI::App* rm = add(runs, "rm", "Remove runs and their rows", flags, [](const RunsFlags& f) {
    Store store = Store::open(f.store);
    for (const int64_t id : f.ids) store.read_run(id);  // all are there, or none goes
    remove(store, f.ids);
  });
  rm->add_option("ids", flags->ids, "Runs")->required();
  CLI::App* out = add(runs, "export", "The whole store as csv (one row a run), jsonl (all of each run) or sql (for lm-eval's format: `mlaforge export`)", flags, [](const RunsFlags& f) {
    RunsFlags own = f;
    if (own.format == "text") own.format = "csv";
    export_all(own);
  });
  out->add_option("--format", flags->format, "csv, jsonl or sql [csv]");
  out->add_option("--out", flags->out, "File to write instead of stdout");
  add(runs, "merge", "Bring the finished runs of other stores into this one; again changes nothing", flags, merge)
      ->add_option("stores", flags->stores, "Stores to read")->required()->check(CLI::ExistingFile);
  CLI::App* gc = add(runs, "gc", "Remove failed and interrupted runs that a finished one replaces, and give their space back", flags, clean);
  gc->add_flag("--all-unfinished", flags->all_unfinished, "Also those that nothing replaces");
  gc->add_flag("--superseded", flags->superseded, "Also finished runs that a later attempt replaces");
}

void default_action(const CLI::App& command, const RunsFlags& flags) {
  if (!command.get_subcommands().empty()) return;
  if (flags.remove > 0) {
    Store store = Store::open(flags.store);
    remove(store, {flags.remove});
  } else if (flags.id > 0) {
    std::cout << Store::open_read_only(flags.store).run_json(flags.id).dump(2) << '\n';
  } else {
    list(flags);
  }
}

}  // namespace

void add_runs_command(CLI::App& app) {
  auto flags = std::make_shared<RunsFlags>();
  CLI::App* command = app.add_subcommand("runs", "List the runs of the database, show, compare, tag, remove, export, merge, clean");
  command->add_option("id", flags->id, "Print everything that is stored of this run, as JSON")->check(CLI::PositiveNumber);
  command->add_option("--store", flags->store, "Run database [runs.db]");
  add_list_flags(*command, *flags);
  command->add_option("--remove", flags->remove, "Remove this run and its rows")->check(CLI::PositiveNumber);
  add_subcommands(*command, flags);
  command->fallthrough(false);
  add_examples(*command,
               "  mlaforge runs --store runs.db\n"
               "  mlaforge runs 3 --store runs.db\n"
               "  mlaforge runs diff 3 7 --store runs.db\n"
               "  mlaforge runs tag 7 table-2 --store runs.db\n"
               "  mlaforge runs merge node1.db node2.db --store runs.db\n"
               "  mlaforge runs export --format csv --store runs.db --out runs.csv\n"
               "  mlaforge runs gc --store runs.db\n");
  command->callback([flags, command] { default_action(*command, *flags); });
}

}  // namespace mla
