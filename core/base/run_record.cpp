#include "core/base/run_record.h"

#include <algorithm>

#include "core/base/sha256.h"

namespace mla {

std::string run_identity(const RunRecord& record) {
  std::vector<std::string> inputs;
  for (const InputHash& input : record.inputs) inputs.push_back(input.role + ':' + input.sha256);
  std::sort(inputs.begin(), inputs.end());
  const Json identity{{"method", record.method}, {"config", record.config},   {"inputs", inputs},
                      {"stage_versions", record.stage_versions},              {"protocol", record.protocol},
                      {"dtype", record.dtype},   {"device", record.device},   {"threads", record.threads},
                      {"seed", record.seed}};
  return sha256_hex(identity.dump());
}

const char* to_string(RunStatus status) {
  switch (status) {
    case RunStatus::running: return "running";
    case RunStatus::done: return "done";
    case RunStatus::failed: return "failed";
    case RunStatus::interrupted: return "interrupted";
  }
  return "failed";
}

}  // namespace mla
