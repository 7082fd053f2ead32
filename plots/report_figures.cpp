// The figures of the report, drawn by gnuplot in a folder that goes again.
#include <cstdlib>

#include "core/base/error.h"
#include "core/base/files.h"
#include "plots/figure.h"
#include "plots/gnuplot.h"
#include "plots/report_parts.h"

namespace mla {
namespace {

constexpr std::size_t kMostGroups = 8;  // models; and texts and protocols of each figure that needs one

class WorkFolder {
 public:
  WorkFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "mlaforge-report-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) fail<ResourceError>("report", "cannot make a folder in ", std::filesystem::temp_directory_path().string());
    path_ = pattern;
  }
  ~WorkFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::vector<QueryParams> groups(const Store& store, const char* sql, const std::vector<std::string>& names) {
  Statement read(store.database(), sql);
  std::vector<QueryParams> all;
  while (read.step() && all.size() < kMostGroups) {
    QueryParams params;
    for (std::size_t i = 0; i < names.size(); ++i) params[names[i]] = read.text(static_cast<int>(i));
    all.push_back(std::move(params));
  }
  return all;
}

class Drawer {
 public:
  Drawer(const Store& store, std::vector<ReportFigure>& figures) : store_(store), figures_(figures) {}

  // What this store has nothing for is left out.
  void draw(const char* figure, const QueryParams& params) {
    try {
      const std::vector<std::filesystem::path> paths = write_figure(store_, figure, folder_.path(), params);
      std::string name = figure;
      for (const auto& [key, value] : params) name += ", " + value;
      figures_.push_back({name, read_text_file(paths.at(3))});
    } catch (const ConfigError&) {
    }
  }

 private:
  const Store& store_;
  std::vector<ReportFigure>& figures_;
  WorkFolder folder_;
};

}  // namespace

std::vector<ReportFigure> report_figures(const Store& store, bool& no_gnuplot) {
  std::vector<ReportFigure> figures;
  no_gnuplot = !has_gnuplot();
  if (no_gnuplot) return figures;
  Drawer drawer(store, figures);
  for (const QueryParams& params : groups(store, "SELECT DISTINCT model, corpus, protocol FROM zoo ORDER BY 1, 2, 3", {"model", "corpus", "protocol"}))
    for (const char* figure : {"ppl_vs_cache", "kld_vs_cache"}) drawer.draw(figure, params);
  for (const QueryParams& params : groups(store, "SELECT DISTINCT model, corpus, protocol FROM latest_run r WHERE EXISTS (SELECT 1 FROM answer WHERE run_id = r.id AND item GLOB '[0-9]*@[0-9]*')", {"model", "corpus", "protocol"}))
    drawer.draw("needle", params);
  for (const QueryParams& params : groups(store, "SELECT DISTINCT r.model, r.protocol FROM latest_run r WHERE EXISTS (SELECT 1 FROM answer WHERE run_id = r.id) ORDER BY 1, 2", {"model", "protocol"}))
    drawer.draw("tasks_vs_cache", params);
  for (const QueryParams& params : groups(store, "SELECT DISTINCT r.model, r.protocol FROM latest_run r JOIN metric m ON m.run_id = r.id AND m.name = 'largest_batch' ORDER BY 1, 2", {"model", "protocol"}))
    for (const char* figure : {"throughput_vs_context", "batch_vs_context", "cache_vs_context"}) drawer.draw(figure, params);
  for (const QueryParams& params : groups(store, "SELECT DISTINCT model FROM latest_run ORDER BY 1", {"model"}))
    for (const char* figure : {"layer_ranks", "layer_energy", "memory", "search"}) drawer.draw(figure, params);
  return figures;
}

}  // namespace mla
