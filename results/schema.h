// The tables of the run database (docs/store.md) and the steps between schema versions.
#pragma once
#include "results/database.h"

namespace mla {

constexpr int kSchemaVersion = 4;               // PRAGMA user_version
constexpr int kApplicationId = 0x4D4C4146;      // "MLAF", PRAGMA application_id

// Creates the tables in an empty database, or brings an older one forward, and writes the published numbers where they changed; one transaction.
// Throws StoreError for a newer schema and for a database of another program.
void create_or_migrate(Database& database);

// For reading a schema of any version: what an old one lacks, a query misses. Throws StoreError when the file is not a run database.
void check_readable(const Database& database);

}  // namespace mla
