// The processes of one command, joined by c10d: a TCP store to find each other, Gloo to exchange results. What is exchanged are numbers in
// the memory of the host, also where models run on CUDA devices, so that one transport serves both.
#pragma once
#include <chrono>
#include <memory>

#include "core/base/division.h"
#include "core/base/launch.h"

namespace mla {

// Batch i belongs to rank i % world. A process that ends closes its connections, which the first one sees at once; one that hangs, or whose
// machine is gone, after `timeout`.
class ProcessGroup : public Division {
 public:
  static bool available();  // false where this program was built without Gloo's headers
  // Waits for all of them. Throws ResourceError when they do not come within `timeout`, or where this program was built without Gloo's headers.
  static std::unique_ptr<ProcessGroup> join(const Launch& launch, std::chrono::seconds timeout);
  // Of all processes, after the last batch: the first one waits for nothing, the others until it has everything.
  virtual void finish() = 0;
};

}  // namespace mla
