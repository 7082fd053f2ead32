#include "experiments/program.h"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <new>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "experiments/build_info.h"

namespace mla {
namespace {

int report(int code, const std::string& message) {
  const std::string line = message.substr(0, message.find('\n'));
  if (color_on()) std::fprintf(stderr, "\033[1;31merror:\033[0m %s\n", line.c_str());
  else std::fprintf(stderr, "error: %s\n", line.c_str());
  return code;
}

// The subcommand that the command line reached, else the program itself.
CLI::App& deepest(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands()) return deepest(*command);
  return app;
}

// "unknown option '--modle'; did you mean '--model'?" for the first word that looks like a misspelt one, else nothing.
std::string misspelt(const CLI::App& command, const std::vector<std::string>& words) {
  std::vector<std::string> flags, commands;
  for (const CLI::App* app = &command; app; app = app->get_parent())
    for (const CLI::Option* option : app->get_options())
      for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) commands.push_back(sub->get_name());
  for (const std::string& each : words) {
    const bool is_flag = each.starts_with("--") && each.size() > 2;
    const std::string word = is_flag ? each.substr(0, each.find('=')) : each;
    const std::vector<std::string>& known = is_flag ? flags : commands;
    if (std::find(known.begin(), known.end(), word) != known.end()) continue;
    const std::string near = nearest_name(word, known);
    if (is_flag || !near.empty())
      return std::string("unknown ") + (is_flag ? "option '" : "command '") + word + "'" + (near.empty() ? "" : "; did you mean '" + near + "'?");
  }
  return "";
}

int report_usage(CLI::App& app, const std::string& message, const std::vector<std::string>& words) {
  const CLI::App& command = deepest(app);
  const std::string better = misspelt(command, words);
  const std::string name = &command == &app ? "" : command.get_name() + " ";
  return report(kUsage, (better.empty() ? message : better) + " (see `mlaforge " + name + "--help`)");
}

void add_global_flags(CLI::App& app) {
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", std::string("mlaforge ") + build_info().version + " (" + build_info().git_commit + ")");
  app.add_flag_callback("-q,--quiet", [] { set_verbosity(Verbosity::quiet); }, "No status lines");
  app.add_flag_callback("-v,--verbose", [] { set_verbosity(Verbosity::verbose); }, "More status lines");
  app.add_option_function<std::string>(
         "--color", [](const std::string& when) { if (when != "auto") set_color(when == "always"); }, "auto, always or never [auto]")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app.footer("Results go to stdout, progress and messages to stderr. Exit codes: 0 ok, 1 run failed, 2 usage, 3 bad input file,\n"
             "4 resource (memory, disk, store), 130 interrupted.\n\nExamples:\n"
             "  mlaforge run --model model.gguf --method transmla --freqfold 4 --kv-lora-rank 256 --cal-dataset calibration.txt --corpus text.txt\n"
             "  mlaforge table --store runs.db\n");
}

int parse_and_run(int argc, char** argv, const Program& program) {
  CLI::App app("Converts attention language models into multi-head latent attention and measures what that costs", "mlaforge");
  std::vector<std::string>& words = program_arguments();
  words.assign(argv, argv + argc);
  add_global_flags(app);
  program.add_commands(app);
  std::vector<std::string> spelt = program.spell ? program.spell(words) : words;
  std::reverse(spelt.begin(), spelt.end());  // as the parser wants them, without the program's name
  spelt.pop_back();
  try {
    app.parse(std::move(spelt));
    return kOk;
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success, std::cout, std::cerr);
  } catch (const CLI::ParseError& error) {
    return report_usage(app, error.what(), {words.begin() + 1, words.end()});
  }
}

}  // namespace

std::vector<std::string>& program_arguments() {
  static std::vector<std::string> arguments;
  return arguments;
}

int run_program(int argc, char** argv, const Program& program) {
  try {
    return parse_and_run(argc, argv, program);
  } catch (const Interrupted&) {
    return report(kInterrupted, "interrupted; the same command runs again what is missing");
  } catch (const UsageError& error) {
    return report(kUsage, error.what());
  } catch (const ConfigError& error) {
    return report(kUsage, error.what());
  } catch (const CheckpointError& error) {
    return report(kBadInput, error.what());
  } catch (const StoreError& error) {
    return report(kResource, error.what());
  } catch (const ResourceError& error) {
    return report(kResource, error.what());
  } catch (const CudaError& error) {
    return report(kResource, error.what());
  } catch (const std::bad_alloc&) {
    return report(kResource, "[memory] out of memory; use a smaller model, --dtype bf16 or fewer samples");
  } catch (const std::exception& error) {
    const std::optional<Failure> known = program.explain ? program.explain(error) : std::nullopt;
    return known ? report(known->code, known->message) : report(kFailed, error.what());
  }
}

}  // namespace mla
