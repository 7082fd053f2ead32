// mlaforge: runs what needs a store alone by itself and becomes mlaforge-models for the rest, as loading LibTorch takes a quarter of a
// second that a look into a store should not wait for.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "core/base/process.h"
#include "experiments/program.h"

namespace {

namespace fs = std::filesystem;

// The command word: the first one that is no global flag. Empty: there is none.
std::string command_of(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--color") ++i;  // its value follows
    else if (!word.starts_with("-")) return word;
    else if (word != "-q" && word != "--quiet" && word != "-v" && word != "--verbose" && !word.starts_with("--color=")) return "";
  }
  return "";
}

bool needs_store_alone(const std::string& command) {
  CLI::App app;
  mla::add_store_commands(app);
  const std::vector<CLI::App*> commands = app.get_subcommands([](const CLI::App*) { return true; });
  return std::any_of(commands.begin(), commands.end(), [&](const CLI::App* each) { return each->get_name() == command; });
}

// Beside this executable in a build, in libexec of an installed copy. Returns where it was looked for.
std::string become_models(char** argv) {
  const fs::path here = fs::read_symlink("/proc/self/exe").parent_path();
  const std::vector<fs::path> places{here / "mlaforge-models", here.parent_path() / "libexec/mlaforge/mlaforge-models"};
  std::string looked;
  for (const fs::path& place : places) {
    if (access(place.c_str(), X_OK) == 0) execv(place.c_str(), argv);
    looked += (looked.empty() ? "" : " and ") + place.string();
  }
  return looked;
}

}  // namespace

int main(int argc, char** argv) {
  if (needs_store_alone(command_of(argc, argv))) {
    mla::install_interrupt_handler();
    return mla::run_program(argc, argv, {mla::add_store_commands, {}});
  }
  const std::string looked = become_models(argv);
  std::cerr << "error: [mlaforge] wanted the program mlaforge-models, looked at " << looked << ": " << std::strerror(errno) << "; build or install it beside this one\n";
  return mla::kResource;
}
