#include <algorithm>
#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "core/base/json.h"
#include "experiments/commands.h"
#include "experiments/doctor.h"
#include "experiments/run_options.h"

namespace mla {
namespace {

struct Flags {
  std::string store = "runs.db", data_root, format = "text";
};

void print_text(const std::vector<Check>& checks) {
  std::string section;
  for (const Check& check : checks) {
    if (check.section != section) std::printf("%s%s\n", section.empty() ? "" : "\n", check.section.c_str());
    section = check.section;
    std::printf("  %-8s %-16s %s%s%s\n", name_of(check.finding), check.name.c_str(), check.found.c_str(), check.needed.empty() ? "" : "; ", check.needed.c_str());
  }
}

void doctor(const Flags& flags) {
  const std::vector<Check> checks = examine(flags.store, flags.data_root);
  if (flags.format == "json") {
    Json rows = Json::array();
    for (const Check& check : checks)
      rows.push_back({{"section", check.section}, {"name", check.name}, {"finding", name_of(check.finding)}, {"found", check.found}, {"needed", check.needed}});
    std::cout << rows.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    print_text(checks);
  }
  const auto broken = [](const Check& check) { return check.finding == Finding::broken; };
  if (std::any_of(checks.begin(), checks.end(), broken)) fail<StoreError>("doctor", flags.store, " is damaged; the lines marked broken say where and what to do");
}

}  // namespace

void add_doctor_command(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("doctor", "Say what is here and what is missing for which feature, and whether a store is whole");
  command->add_option("--store", flags->store, "Run database to check [runs.db]");
  command->add_option("--data-root", flags->data_root, "Folder of the named texts [$MLAFORGE_DATA, else ../shared/data]");
  add_format_flag(*command, flags->format, {"text", "json"});
  add_examples(*command,
               "  mlaforge doctor\n"
               "  mlaforge doctor --store results/runs.db\n"
               "  mlaforge doctor --format json\n");
  command->callback([flags] { doctor(*flags); });
}

}  // namespace mla
