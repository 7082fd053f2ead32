#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "core/base/names.h"
#include "experiments/commands.h"
#include "experiments/family_matrix.h"
#include "experiments/run_options.h"
#include "methods/parts.h"

namespace mla {
namespace {

Json describe(const RecipeEntry& entry) {
  Json options = Json::array();
  for (const OptionHelp& help : entry.options)
    options.push_back({{"option", help.name}, {"flag", flag_of(help.name)}, {"default", help.fallback}, {"meaning", help.meaning}});
  return {{"method", entry.name}, {"summary", entry.summary}, {"source", entry.source}, {"recommended", entry.recommended},
          {"stages", entry.stages}, {"export_targets", entry.exports}, {"options", options}};
}

void print_text(const RecipeEntry& entry) {
  std::printf("%s%s: %s (%s)\n", entry.name, entry.recommended ? " (recommended)" : "", entry.summary, entry.source);
  std::string stages;
  for (const char* stage : entry.stages) stages += (stages.empty() ? "" : " -> ") + std::string(stage);
  std::printf("  %s\n", stages.c_str());
  std::printf("  exports: %s\n", join({entry.exports.begin(), entry.exports.end()}).c_str());
  for (const OptionHelp& help : entry.options) std::printf("  %-20s %s [%s]\n", flag_of(help.name).c_str(), help.meaning, help.fallback);
}

void list_methods(const std::string& name, const std::string& format) {
  std::vector<const RecipeEntry*> chosen = recipes();
  if (!name.empty()) chosen = {&find_recipe(name)};
  if (format == "json") {
    Json all = Json::array();
    for (const RecipeEntry* entry : chosen) all.push_back(describe(*entry));
    std::cout << all.dump(2) << '\n';
    return;
  }
  for (const RecipeEntry* entry : chosen) print_text(*entry);
}

void list_families(const std::string& format) {
  const std::vector<FamilyRow> rows = family_matrix();
  if (format == "json") std::cout << family_matrix_json(rows).dump(2) << '\n';
  else std::cout << family_matrix_markdown(rows);
}

}  // namespace

void add_methods_command(CLI::App& app) {
  struct Flags {
    std::string name, format = "text";
    bool families = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("methods", "List the conversion methods with their options and sources");
  command->add_option("method", flags->name, "Only this method");
  command->add_flag("--families", flags->families, "Which method converts which family of models, and which export targets hold the result");
  add_format_flag(*command, flags->format, {"text", "json", "markdown"});
  add_examples(*command, "  mlaforge methods\n  mlaforge methods transmla\n  mlaforge methods --format json\n  mlaforge methods --families --format markdown\n");
  command->callback([flags] {
    if (flags->families && !flags->name.empty()) fail<UsageError>("methods", "wanted --families without a method, got ", flags->name);
    if (!flags->families && flags->format == "markdown") fail<UsageError>("methods", "wanted --format text or json without --families, got markdown");
    if (flags->families) list_families(flags->format);
    else list_methods(flags->name, flags->format);
  });
}

}  // namespace mla
