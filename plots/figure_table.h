// How a figure is declared: a named query, and the texts that gnuplot reads.
#pragma once
#include <string>

#include "results/store.h"
#include "results/table.h"

namespace mla {

struct FigureText {
  std::string data;    // <name>.dat
  std::string script;  // <name>.gp, to be run in the folder of the data
};

struct NamedFigure {
  const char* name;
  const char* query;
  // Throws ConfigError when the rows cannot be drawn together, or there are none.
  FigureText (*make)(const Store& store, const Table& rows, const std::string& name);
};

extern const NamedFigure batch_vs_context_figure;
extern const NamedFigure cache_vs_context_figure;
extern const NamedFigure kld_vs_cache_figure;
extern const NamedFigure layer_energy_figure;
extern const NamedFigure layer_ranks_figure;
extern const NamedFigure memory_figure;
extern const NamedFigure needle_figure;
extern const NamedFigure ppl_vs_cache_figure;
extern const NamedFigure search_figure;
extern const NamedFigure spectrum_figure;
extern const NamedFigure tasks_vs_cache_figure;
extern const NamedFigure throughput_vs_context_figure;

}  // namespace mla
