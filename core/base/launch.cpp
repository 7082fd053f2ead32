#include "core/base/launch.h"

#include <charconv>
#include <cstdlib>

#include "core/base/error.h"

namespace mla {
namespace {

constexpr int kMostProcesses = 1 << 20, kFirstPort = 20000, kPorts = 10000;

struct Range {
  int least, most;
};

int number(const char* name, const std::string& text, Range range) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < range.least || value > range.most)
    fail<UsageError>("distributed", "wanted ", name, " from ", range.least, " to ", range.most, ", got '", text, "'");
  return value;
}

std::string required(const Environment& environment, const char* name, const char* beside) {
  std::string text = environment(name);
  if (text.empty()) fail<UsageError>("distributed", "wanted ", name, " in the environment beside ", beside, ", got none; start the processes with torchrun or srun");
  return text;
}

Launch of_torchrun(const Environment& environment) {
  Launch launch;
  const auto read = [&](const char* name, Range range) { return number(name, required(environment, name, "WORLD_SIZE"), range); };
  launch.world = read("WORLD_SIZE", {1, kMostProcesses});
  if (!launch.many()) return {};
  launch.rank = read("RANK", {0, launch.world - 1});
  if (const std::string local = environment("LOCAL_RANK"); !local.empty()) launch.local_rank = number("LOCAL_RANK", local, {0, launch.world - 1});
  launch.address = required(environment, "MASTER_ADDR", "WORLD_SIZE");
  launch.port = read("MASTER_PORT", {1, 65535});
  launch.agent_listens = environment("TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (const std::string attempt = environment("TORCHELASTIC_RESTART_COUNT"); !attempt.empty()) launch.attempt = number("TORCHELASTIC_RESTART_COUNT", attempt, {0, kMostProcesses});
  return launch;
}

Launch of_slurm(const Environment& environment) {
  const auto either = [&](const char* first, const char* second) {
    const std::string text = environment(first);
    return text.empty() ? required(environment, second, "SLURM_STEP_ID") : text;
  };
  Launch launch;
  launch.world = number("SLURM_NTASKS", either("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"), {1, kMostProcesses});
  if (!launch.many()) return {};
  launch.rank = number("SLURM_PROCID", required(environment, "SLURM_PROCID", "SLURM_STEP_ID"), {0, launch.world - 1});
  launch.local_rank = number("SLURM_LOCALID", required(environment, "SLURM_LOCALID", "SLURM_STEP_ID"), {0, launch.world - 1});
  const std::string address = environment("MASTER_ADDR"), port = environment("MASTER_PORT");
  launch.address = address.empty() ? first_host(either("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")) : address;
  launch.port = port.empty() ? kFirstPort + number("SLURM_JOB_ID", required(environment, "SLURM_JOB_ID", "SLURM_STEP_ID"), {0, 1 << 30}) % kPorts : number("MASTER_PORT", port, {1, 65535});
  return launch;
}

}  // namespace

std::string first_host(const std::string& nodes) {
  const auto wrong = [&] { fail<UsageError>("distributed", "wanted Slurm's list of nodes, as in n[01-04],login, got '", nodes, "'"); };
  const std::size_t end = nodes.find_first_of(",[");
  std::string host = nodes.substr(0, end);
  if (end == std::string::npos || nodes[end] == ',') {
    if (host.empty()) wrong();
    return host;
  }
  const std::size_t close = nodes.find(']', end), stop = nodes.find_first_of("-,]", end);
  if (close == std::string::npos || stop == end + 1) wrong();
  host += nodes.substr(end + 1, stop - end - 1);
  return host + nodes.substr(close + 1, nodes.find_first_of(",[", close) - close - 1);
}

Launch read_launch(const Environment& environment) {
  if (!environment("WORLD_SIZE").empty()) return of_torchrun(environment);
  if (!environment("SLURM_STEP_ID").empty()) return of_slurm(environment);
  return {};
}

Launch read_launch() {
  return read_launch([](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  });
}

}  // namespace mla
