#include "results/integrity.h"

#include "core/base/error.h"
#include "results/store.h"

namespace mla {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostProblems = 20;

int64_t number(const Database& database, const char* sql) {
  Statement read(database, sql);
  return read.step() ? read.integer(0) : 0;
}

void check_pages(const Database& database, std::vector<std::string>& problems) {
  Statement read(database, "PRAGMA integrity_check(" + std::to_string(kMostProblems) + ")");
  while (read.step())
    if (const std::string line = read.text(0); line != "ok") problems.push_back(line.substr(0, line.find('\n')));
}

void check_references(const Database& database, std::vector<std::string>& problems) {
  Statement read(database, "PRAGMA foreign_key_check");
  while (problems.size() < kMostProblems && read.step())
    problems.push_back("a row of table " + read.text(0) + " names a row of " + read.text(2) + " that is not there");
}

}  // namespace

StoreHealth check_store(const fs::path& path) {
  std::error_code ignored;
  StoreHealth health;
  if (!fs::exists(path, ignored)) fail<StoreError>("store", "no run database at ", path.string());
  health.bytes = fs::file_size(path, ignored);
  health.journal = fs::exists(path.string() + "-journal", ignored);
  try {
    const Store store = Store::open_read_only(path);
    const Database& database = store.database();
    health.schema = number(database, "PRAGMA user_version");
    check_pages(database, health.problems);
    if (!health.problems.empty()) return health;
    check_references(database, health.problems);
    health.runs = number(database, "SELECT count(*) FROM run");
    health.running = number(database, "SELECT count(*) FROM run WHERE status = 'running'");
    health.metrics = number(database, "SELECT count(*) FROM metric");
  } catch (const Error& error) {
    health.problems.emplace_back(error.what());
  }
  return health;
}

}  // namespace mla
