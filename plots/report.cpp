#include "plots/report.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "plots/report_parts.h"
#include "results/snapshot.h"

namespace mla {
namespace {

namespace fs = std::filesystem;

// Nobody's work is replaced: a report holds its own files and nothing else.
bool is_report(const fs::path& folder) {
  std::ifstream in(folder / "index.html", std::ios::binary);
  std::string head(std::strlen(kReportMark), '\0');
  if (!in.read(head.data(), static_cast<std::streamsize>(head.size())) || head != kReportMark) return false;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.path().filename() != "index.html" && entry.path().filename() != "runs") return false;
  return true;
}

// Throws where `out` holds anything else. Whether it is there.
bool check_target(const fs::path& out) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(out, error))) return false;
  if (!fs::is_directory(out, error) || (!fs::is_empty(out, error) && !is_report(out)))
    fail<ConfigError>("report", out.string(), " exists and is no report of mlaforge, or holds other files too; choose another --out");
  return true;
}

// A folder beside the target, so that one rename puts it there. It goes unless it was put.
class Draft {
 public:
  explicit Draft(const fs::path& out) : out_(out) {
    const fs::path parent = out.has_parent_path() ? out.parent_path() : fs::path(".");
    std::error_code error;
    fs::create_directories(parent, error);
    std::string pattern = (parent / ("." + out.filename().string() + "-XXXXXX")).string();
    if (mkdtemp(pattern.data()) == nullptr) fail<ResourceError>("report", "cannot make a folder in ", parent.string(), ": ", std::strerror(errno), "; choose another --out");
    path_ = pattern;
    fs::permissions(path_, fs::perms::owner_all | fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read | fs::perms::others_exec, error);
  }
  ~Draft() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);  // the draft, or the report that it replaced
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;

  void write(const fs::path& name, const std::string& text) const {
    std::ofstream out(path_ / name, std::ios::binary);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    out.flush();
    if (!out) fail<ResourceError>("report", "cannot write ", (path_ / name).string(), ": ", std::strerror(errno), "; is there space?");
  }
  void make_folder(const char* name) const {
    std::error_code error;
    if (!fs::create_directory(path_ / name, error)) fail<ResourceError>("report", "cannot make ", (path_ / name).string(), ": ", error.message());
  }
  // Takes the target's place in one step; a report that was there is exchanged for it.
  void put(bool replaces) {
    const int done = replaces ? renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, out_.c_str(), RENAME_EXCHANGE) : rename(path_.c_str(), out_.c_str());
    if (done != 0) fail<ResourceError>("report", "cannot put the report at ", out_.string(), ": ", std::strerror(errno), "; remove what is there, or choose another --out");
  }

 private:
  fs::path out_, path_;
};

}  // namespace

ReportSummary write_report(const Store& store, const fs::path& given) {
  const fs::path out = given.has_filename() ? given : given.parent_path();  // "folder/" is "folder"
  const bool replaces = check_target(out);
  Draft draft(out);
  const Snapshot snapshot(store.database());
  ReportSummary summary;
  draft.make_folder("runs");
  for (const RunSummary& run : store.runs()) {
    draft.write(fs::path("runs") / (std::to_string(run.id) + ".html"), report_run_page(store, run.id));
    ++summary.runs;
  }
  const std::vector<ReportFigure> figures = report_figures(store, summary.without_gnuplot);
  summary.figures = static_cast<int64_t>(figures.size());
  draft.write("index.html", report_index(store, figures));
  draft.put(replaces);
  return summary;
}

}  // namespace mla
