// One state of the store for several reads: what is written meanwhile is not seen, and the lock is taken once.
#pragma once
#include "results/database.h"

namespace mla {

class Snapshot {
 public:
  // Within another snapshot or a transaction it is that one's.
  explicit Snapshot(const Database& database);
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

 private:
  const Database& database_;
  bool own_ = false;
};

}  // namespace mla
