// Tables are named queries, so nothing is typed by hand and the same store gives the same bytes.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "results/store.h"
#include "results/table.h"

namespace mla {

// Parameters by name; "corpus", "protocol" and "model" narrow any query, "method" to a label or its first words. A name that is not known throws ConfigError.
using QueryParams = std::map<std::string, std::string>;

// Throws ConfigError with the known names when there is no query `name`.
Table run_query(const Store& store, std::string_view name, const QueryParams& params = {});

// Throws ConfigError naming the known ones where a parameter is none of them.
void check_query_params(const QueryParams& params);
// Checks them and binds ?1 corpus, ?2 model, ?3 protocol; NULL narrows nothing.
void bind_query_params(Statement& row, const QueryParams& params);
// Keeps the rows of the parameter "method", where it is given: a label, or the words that it begins with.
void narrow_to_method(Table& table, const QueryParams& params);

std::vector<std::string> query_names();

}  // namespace mla
