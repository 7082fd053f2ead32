#include "methods/registry.h"

#include "core/base/error.h"
#include "core/base/names.h"

namespace mla {

StatKinds Recipe::needs() const {
  StatKinds kinds = splitter->needs() | factorizer->needs() | allocator->needs();
  for (const auto& healer : healers) kinds = kinds | healer->needs();
  return kinds;
}

const std::vector<const RecipeEntry*>& recipes() {
  static const std::vector<const RecipeEntry*> table{&care, &elitekv, &gla, &gta, &kq_svd, &mha2mla, &mla_retrofit, &palu, &stream_match, &svd, &svd_llm,
                                                     &transmla, &transmla_converter, &x_ecomla};
  return table;
}

const RecipeEntry& find_recipe(const std::string& name) {
  std::vector<std::string> known;
  for (const RecipeEntry* entry : recipes()) {
    if (name == entry->name) return *entry;
    known.emplace_back(entry->name);
  }
  fail<ConfigError>("methods", "unknown method '", name, "'", known_names_hint(name, known));
}

}  // namespace mla
