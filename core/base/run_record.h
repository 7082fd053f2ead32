// Everything that is known of one run apart from its numbers. results stores it; experiments fills it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/json.h"

namespace mla {

enum class RunStatus { running, done, failed, interrupted };

struct InputHash {
  std::string role;    // "checkpoint", "tokenizer", "calibration", "corpus"
  std::string path;    // as given by the user
  std::string sha256;  // 64 hex digits
};

struct StageTime {
  std::string stage;  // "load", "calibrate", "convert", "score_original", ...
  double seconds = 0;      // wall
  double cpu_seconds = 0;  // user + system of all threads
};

struct RunRecord {
  std::string method;        // "transmla"
  std::string model;         // display name: file stem
  std::string architecture;  // "llama"
  std::string corpus;        // display name of the evaluated text
  std::string protocol;      // "hf-chunk/512/first16"
  Json config;               // canonical: every option with its resolved value
  std::vector<InputHash> inputs;
  Json stage_versions;  // {"calibrate": 1, "convert": 1, ...}
  std::string dtype;    // fp32, bf16, fp16
  std::string device;   // cpu, cuda
  int threads = 1;
  int64_t seed = 0;
  bool ad_hoc_limit = false;  // true keeps the row out of tables

  std::optional<int64_t> kv_values_original;  // cache values per token and layer, counted from the cache object
  std::optional<int64_t> kv_values;           // the same of the converted model
  Json kv_values_by_layer;                    // array, one per layer, or null

  // Attributes: never part of the identity.
  std::string git_commit;
  bool git_dirty = false;
  std::vector<std::string> argv;
  std::string host;
  Json library_versions;  // object; "decode": what generated, by stage
  std::string started_at;  // ISO 8601, UTC
  std::string finished_at;
  std::vector<StageTime> times;
  double peak_rss_mb = 0;
  double peak_device_mb = 0;
  RunStatus status = RunStatus::running;
  std::string error;  // of a failed run
  std::vector<std::string> warnings;
};

// sha256 over canonical config, input hashes, stage versions, dtype, device and threads: the identity of a run.
std::string run_identity(const RunRecord& record);
const char* to_string(RunStatus status);

}  // namespace mla
