// What conversions kept of each layer: cached values, energy, and the spectra that were cut.
#include <algorithm>
#include <array>
#include <iterator>
#include <map>

#include "plots/chart.h"
#include "plots/figure_rows.h"

namespace mla {
namespace {

constexpr std::size_t kMost = 12;  // series that a legend can hold

// From the first layer to the last, evenly lighter (viridis without its palest end): depth is seen without colour too.
constexpr std::array kDepth{"#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#d0c01a"};
constexpr std::array kDepthMarks{7, 5, 9, 11, 13, 15, 6, 4};

// "transmla ff4 r64, 96 values"
std::string series_name(const FigureRows& rows, std::size_t row, bool name_dtype) {
  std::string name = rows.text(row, "Method") + (name_dtype ? ", " + rows.text(row, "dtype") : "");
  if (const auto values = rows.optional_number(row, "KV values")) name += ", " + std::to_string(static_cast<int64_t>(*values)) + " values";
  return name;
}

// Series in the order in which they are named first; more than the legend holds are left out, and counted.
class SeriesList {
 public:
  ChartSeries* find(const std::string& name) {
    const auto [place, is_new] = places_.emplace(name, all_.size());
    if (!is_new) return place->second < all_.size() ? &all_[place->second] : nullptr;
    if (all_.size() == kMost) {
      place->second = kMost;
      ++left_out_;
      return nullptr;
    }
    const std::string method = name.substr(0, name.find(' '));
    all_.push_back({name, style_of(name, seen_[method]++), {}});
    return &all_.back();
  }
  std::vector<ChartSeries> take() { return std::move(all_); }
  std::string note() const {
    return left_out_ == 0 ? "" : "The first " + std::to_string(all_.size()) + " of " + std::to_string(all_.size() + left_out_) + " conversions; --method chooses";
  }

 private:
  std::vector<ChartSeries> all_;
  std::map<std::string, std::size_t> places_;
  std::map<std::string, int> seen_;
  std::size_t left_out_ = 0;
};

FigureText make_ranks(const Store& store, const Table& table, const std::string& name) {
  const FigureRows rows(table, name, "no finished conversion; `mlaforge run` makes one");
  const std::string model = rows.only("Model", "model", "--model");
  const bool name_dtype = rows.distinct("dtype").size() > 1;
  SeriesList list;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    ChartSeries* series = list.find(series_name(rows, row, name_dtype));
    if (series == nullptr || !series->points.empty()) continue;  // the same conversion with other numbers of the same mean
    for (std::size_t layer = 0;; ++layer) {
      const std::string column = "L" + std::to_string(layer);
      if (std::none_of(table.columns.begin(), table.columns.end(), [&](const Column& c) { return c.name == column; })) break;
      if (const auto values = rows.optional_number(row, column)) series->points.push_back({.x = static_cast<double>(layer), .y = *values});
    }
  }
  Chart chart{.title = model + ", cache of each layer", .x_title = "Layer", .y_title = "Cached values per token"};
  chart.y_linear = true;
  chart.caption = {"Latent and rope key together", list.note(), commits_of(store, model)};
  chart.series = list.take();
  return write_chart(chart, name);
}

FigureText make_energy(const Store& store, const Table& table, const std::string& name) {
  const FigureRows rows(table, name, "no finished conversion has its layers' energies; `mlaforge run` stores them");
  const std::string model = rows.only("Model", "model", "--model");
  const bool name_dtype = rows.distinct("dtype").size() > 1;
  SeriesList list;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const auto energy = rows.optional_number(row, "Kept energy %");
    if (!energy) continue;
    if (ChartSeries* series = list.find(series_name(rows, row, name_dtype))) series->points.push_back({.x = rows.number(row, "Layer"), .y = *energy});
  }
  Chart chart{.title = model + ", energy kept in each layer", .x_title = "Layer", .y_title = "Kept energy, % of the layer's"};
  chart.y_linear = true;
  chart.caption = {"In each factorizer's own measure: compare layers of one method, not methods", list.note(), commits_of(store, model)};
  chart.series = list.take();
  if (chart.series.empty()) FigureRows({}, name, "no finished conversion decomposed anything");
  return write_chart(chart, name);
}

FigureText make_spectrum(const Store& store, const Table& table, const std::string& name) {
  const FigureRows rows(table, name, "no finished conversion has its spectra; `mlaforge run` stores them");
  const std::string model = rows.only("Model", "model", "--model"), method = rows.only("Method", "method", "--method");
  const std::string first = series_name(rows, 0, true);
  std::set<double> layers;
  std::map<std::pair<double, double>, ChartSeries> by_part;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (series_name(rows, row, true) != first || rows.number(row, "Energy %") <= 0) continue;
    const double layer = rows.number(row, "Layer"), part = rows.number(row, "Part");
    layers.insert(layer);
    by_part[{layer, part}].points.push_back({.x = rows.number(row, "Direction"), .y = rows.number(row, "Energy %")});
  }
  Chart chart{.title = model + ", " + method + ", spectra", .x_title = "Direction (log scale)", .y_title = "Energy, % of the part's"};
  chart.x_logarithmic = true;
  for (auto& [key, series] : by_part) {
    const auto depth = static_cast<std::size_t>(std::distance(layers.begin(), layers.find(key.first))) * kDepth.size() / std::max<std::size_t>(layers.size(), 1);
    series.name = "layer " + std::to_string(static_cast<int64_t>(key.first)) + (by_part.size() > layers.size() ? ", part " + std::to_string(static_cast<int64_t>(key.second)) : "");
    series.style = {kDepth[depth], kDepthMarks[depth], 1 + static_cast<int>(key.second)};
    chart.series.push_back(std::move(series));
  }
  chart.caption = {first, "At most eight layers, first and last among them; directions by their energy", commits_of(store, model)};
  return write_chart(chart, name);
}

}  // namespace

const NamedFigure layer_ranks_figure{"layer_ranks", "ranks", make_ranks};
const NamedFigure layer_energy_figure{"layer_energy", "layers", make_energy};
const NamedFigure spectrum_figure{"spectrum", "spectrum", make_spectrum};

}  // namespace mla
