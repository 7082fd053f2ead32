#include "plots/figure.h"

#include <array>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "plots/figure_table.h"
#include "plots/gnuplot.h"

namespace mla {
namespace {

constexpr std::array kFigures{&batch_vs_context_figure, &cache_vs_context_figure, &kld_vs_cache_figure, &layer_energy_figure, &layer_ranks_figure,
                              &memory_figure,           &needle_figure,           &ppl_vs_cache_figure, &search_figure,       &spectrum_figure,
                              &tasks_vs_cache_figure,   &throughput_vs_context_figure};

const NamedFigure& find_figure(std::string_view name) {
  for (const NamedFigure* figure : kFigures)
    if (figure->name == name) return *figure;
  fail<ConfigError>("plot", "unknown figure '", name, "'", known_names_hint(name, figure_names()));
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail<ResourceError>("plot", "cannot make ", folder.string(), ": ", error.message(), "; choose another --out");
}

}  // namespace

std::vector<std::string> figure_names() {
  std::vector<std::string> names;
  for (const NamedFigure* figure : kFigures) names.emplace_back(figure->name);
  return names;
}

std::vector<std::filesystem::path> write_figure(const Store& store, std::string_view name, const std::filesystem::path& out_dir,
                                                const QueryParams& params) {
  const NamedFigure& figure = find_figure(name);
  const FigureText text = figure.make(store, run_query(store, figure.query, params), std::string(name));
  make_folder(out_dir);
  std::vector<std::filesystem::path> paths;
  for (const char* extension : {".dat", ".gp", ".png", ".svg", ".pdf"}) paths.push_back(out_dir / (std::string(name) + extension));
  write_file_atomically(paths[0], text.data);
  write_file_atomically(paths[1], text.script);
  run_gnuplot(paths[1]);
  return paths;
}

}  // namespace mla
