#include "results/published.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/option_reader.h"

namespace mla {

const std::vector<std::pair<const char*, const char*>>& published_texts();  // of a file that CMake writes

namespace {

std::optional<std::string> text_of(const Json& line, const char* key) {
  return line.contains(key) ? std::optional(line.at(key).get<std::string>()) : std::nullopt;
}

PublishedNumber read_line(const Json& line) {
  PublishedNumber number{.paper = line.at("paper"), .place = line.at("place"), .url = text_of(line, "url"), .method = line.at("method"), .model = line.at("model"),
                         .recipe = text_of(line, "recipe"), .stage = line.at("stage"), .trained = text_of(line, "trained"), .dataset = line.at("dataset"),
                         .metric = line.at("metric"), .value = line.at("value"), .unit = line.at("unit"), .better = line.at("better"),
                         .corpus = text_of(line, "corpus"), .protocol = text_of(line, "protocol"), .settings = line.value("settings", Json::object()),
                         .note = text_of(line, "note")};
  if (line.contains("kv_values")) number.kv_values = line.at("kv_values").get<int64_t>();
  if (line.contains("saved_percent")) number.saved_percent = line.at("saved_percent").get<double>();
  return number;
}

std::vector<PublishedNumber> read_all() {
  std::vector<PublishedNumber> numbers;
  for (const auto& [name, text] : published_texts()) {
    const std::string_view all = text;
    int64_t line = 1;
    for (std::size_t begin = 0; begin < all.size(); ++line) {
      const std::size_t end = std::min(all.find('\n', begin), all.size());
      const std::string where = "results/published/" + std::string(name) + ", line " + std::to_string(line);
      try {
        numbers.push_back(read_line(parse_json(all.substr(begin, end - begin), where)));
      } catch (const Json::exception& error) {
        fail<CheckpointError>("published", "wanted a published number in ", where, ": ", error.what());
      }
      begin = end + 1;
    }
  }
  return numbers;
}

template <class T>
Cell cell_of(const std::optional<T>& value) {
  return value ? Cell(*value) : Cell();
}

}  // namespace

const std::vector<PublishedNumber>& published_numbers() {
  static const std::vector<PublishedNumber> numbers = read_all();
  return numbers;
}

void write_published(Database& database) {
  {
    Statement known(database, "SELECT 1 FROM program_data WHERE name = 'published' AND sha256 = ?1");
    if (known.bind(1, published_sha256()).step()) return;
  }
  database.execute("DELETE FROM published");
  Statement insert(database,
                   "INSERT INTO published (paper, place, url, method, recipe, model, stage, kv_values, saved_percent, trained, dataset, metric, value, unit, better, "
                   "corpus, protocol, settings, note) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)");
  for (const PublishedNumber& n : published_numbers()) {
    insert.bind(1, n.paper).bind(2, n.place).bind(3, n.url).bind(4, n.method).bind(5, n.recipe).bind(6, n.model).bind(7, n.stage);
    insert.bind(8, n.kv_values).bind(9, n.saved_percent).bind(10, n.trained).bind(11, n.dataset).bind(12, n.metric).bind(13, n.value);
    insert.bind(14, n.unit).bind(15, n.better).bind(16, n.corpus).bind(17, n.protocol).bind(18, n.settings.dump()).bind(19, n.note).run();
  }
  Statement(database, "INSERT OR REPLACE INTO program_data (name, sha256) VALUES ('published', ?1)").bind(1, published_sha256()).run();
}

Table published_table(const QueryParams& params) {
  check_query_params(params);
  const auto wanted = [&](const char* name, const std::string& value) { return params.count(name) == 0 || params.at(name) == value; };
  Table table{"published",
              {{"Paper"}, {"Place"}, {"Model"}, {"Method"}, {"Stage"}, {"KV values"}, {"Saved %", 2}, {"Trained on"}, {"Dataset"}, {"Metric"}, {"Value"}, {"Unit"}, {"Protocol"},
               {"Settings"}, {"Note"}, {"URL"}},
              {}};
  for (const PublishedNumber& n : published_numbers())
    if (wanted("corpus", n.dataset) && wanted("model", n.model) && wanted("protocol", n.protocol.value_or("")))
      table.rows.push_back({n.paper, n.place, n.model, n.method, n.stage, cell_of(n.kv_values), cell_of(n.saved_percent), cell_of(n.trained), n.dataset, n.metric, n.value,
                            n.unit, cell_of(n.protocol), n.settings.empty() ? Cell() : Cell(n.settings.dump()), cell_of(n.note), cell_of(n.url)});
  narrow_to_method(table, params);
  table.separate = {0, 1};
  return table;
}

}  // namespace mla
