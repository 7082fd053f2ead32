// Numbers that papers and projects printed, to stand beside ours and never among them: results/published/*.jsonl, a cell of a table a line.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "results/database.h"
#include "results/query.h"
#include "results/table.h"

namespace mla {

struct PublishedNumber {
  std::string paper, place;        // "CARE (arXiv 2603.17946)", "Table I.1"
  std::optional<std::string> url;  // of the paper
  std::string method, model;       // as printed, the model in one spelling
  std::optional<std::string> recipe;  // the method's name here, where a recipe repeats it; "original"
  std::string stage;               // original, partial_rope, mla, finetuned
  std::optional<int64_t> kv_values;      // per token and layer
  std::optional<double> saved_percent;   // of the original's cache
  std::optional<std::string> trained;    // what was trained on; absent: nothing, or not stated
  std::string dataset, metric;
  double value = 0;
  std::string unit, better;
  std::optional<std::string> corpus, protocol;  // ours, where the publication says that it evaluates so
  Json settings = Json::object();               // what else is printed: options by our names, calibration, hardware
  std::optional<std::string> note;
};

// All of them, as they were when the program was configured. Throws CheckpointError naming file and line.
const std::vector<PublishedNumber>& published_numbers();
const std::string& published_sha256();  // of their texts

// Makes the store's table `published` equal to them, where it is not. To be called inside a transaction.
void write_published(Database& database);

// "published": all, narrowed by corpus (of their dataset), method, model and protocol; a table of the paper each.
Table published_table(const QueryParams& params = {});

}  // namespace mla
