#include "results/snapshot.h"

#include <sqlite3.h>

namespace mla {

Snapshot::Snapshot(const Database& database) : database_(database), own_(sqlite3_get_autocommit(database.handle()) != 0) {
  if (own_) Statement(database_, "BEGIN").run();
}

Snapshot::~Snapshot() {
  if (own_) sqlite3_exec(database_.handle(), "COMMIT", nullptr, nullptr, nullptr);
}

}  // namespace mla
