// An evaluation's batches divided over processes that run the same command on the same data.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "core/base/json.h"

namespace mla {

// Batches are the ones that a process alone would make, whole, so that their numbers have the same bits; the first process gets all of them in
// order, and forms every sum. All processes make the same calls in the same order.
class Division {
 public:
  virtual ~Division() = default;
  virtual bool first() const = 0;  // the process that puts together, prints and stores
  // What batch `index` gave. The process that it belongs to computes it; the first process returns it, the others nothing. What `compute` throws
  // leaves this process as it is and ends the first one with the same words. Throws ResourceError when a process is lost.
  virtual std::optional<Json> share(int64_t index, const std::function<Json()>& compute) = 0;
  // The first process's `value`, on all of them.
  virtual Json from_first(const Json& value) = 0;
};

}  // namespace mla
