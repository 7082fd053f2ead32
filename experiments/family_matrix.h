// Which method converts which family, and which export targets hold the result: found out by converting a drawn model of each.
#pragma once
#include <string>
#include <vector>

#include "core/base/json.h"

namespace mla {

struct FamilyRow {
  std::string name;     // "mistral", "mistral, no window"
  std::string summary;  // of the family
  std::string gguf;     // general.architecture that is read, or empty
  struct Cell {
    std::string method;
    std::vector<std::string> targets;  // mlaforge, transformers, vllm, llama.cpp; empty: not converted
    std::string reason;                // why not
  };
  std::vector<Cell> cells;  // one per recipe, in the registry's order
};

// Throws as convert() does, but for a ConfigError: that is a cell's reason.
std::vector<FamilyRow> family_matrix();

Json family_matrix_json(const std::vector<FamilyRow>& rows);
// Two tables and the reasons, as docs/families.md holds them.
std::string family_matrix_markdown(const std::vector<FamilyRow>& rows);

}  // namespace mla
