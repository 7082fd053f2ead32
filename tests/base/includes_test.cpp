#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "tests/support/catch.h"
#include "tests/support/paths.h"

// The arrows of the folder map (docs/architecture.md): what a folder's files may include, itself left out.
static const std::map<std::string, std::set<std::string>> kMayInclude{
    {"core/base", {}},
    {"core/tensor", {"core"}},
    {"core/checkpoint", {"core"}},
    {"core/tokenizer", {"core"}},
    {"core/model", {"core"}},
    {"core/calibration", {"core"}},
    {"core/cuda", {"core"}},
    {"core/distributed", {"core"}},
    {"core/engine", {"core"}},
    {"methods", {"core"}},
    {"eval", {"core"}},
    {"results", {"core/base"}},
    {"plots", {"core/base", "results"}},
    {"experiments", {"core", "methods", "eval", "results", "plots"}},
};

namespace fs = std::filesystem;

static std::vector<std::string> includes_of(const fs::path& file) {
  static const std::regex pattern("^\\s*#include \"([^\"]+)\"");
  std::vector<std::string> found;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (std::smatch match; std::regex_search(line, match, pattern)) found.push_back(match[1]);
  return found;
}

static bool allowed(const std::string& folder, const std::string& include) {
  const auto below = [&](const std::string& parent) { return include.rfind(parent + "/", 0) == 0; };
  const std::set<std::string>& parents = kMayInclude.at(folder);
  return below(folder) || std::any_of(parents.begin(), parents.end(), below);
}

TEST_CASE("every include follows the arrows between folders", "[architecture]") {
  int files = 0;
  for (const auto& [folder, parents] : kMayInclude) {
    if (!fs::exists(mla::test::source_dir() / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(mla::test::source_dir() / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu" && extension != ".in") continue;
      ++files;
      for (const std::string& include : includes_of(entry.path())) {
        INFO(entry.path().string() << " includes " << include);
        CHECK(allowed(folder, include));
      }
    }
  }
  CHECK(files > 60);  // an empty walk would prove nothing
}

TEST_CASE("core/base, results and plots never include LibTorch", "[architecture]") {
  for (const char* folder : {"core/base", "results", "plots"})
    for (const auto& entry : fs::recursive_directory_iterator(mla::test::source_dir() / folder)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path());
      const std::string text((std::istreambuf_iterator<char>(in)), {});
      INFO(entry.path().string());
      CHECK(text.find("#include <ATen") == std::string::npos);
      CHECK(text.find("#include <torch") == std::string::npos);
    }
}
