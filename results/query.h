// Tables are named queries, so nothing is typed by hand and the same store gives the same bytes.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "results/store.h"
#include "results/table.h"

namespace mla {

// Parameters by name; "corpus", "protocol" and "model" narrow any query. A name that is not known throws ConfigError.
using QueryParams = std::map<std::string, std::string>;

// Throws ConfigError with the known names when there is no query `name`.
Table run_query(const Store& store, std::string_view name, const QueryParams& params = {});

std::vector<std::string> query_names();

}  // namespace mla
