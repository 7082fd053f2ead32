// Which processes a launcher started, as torchrun and Slurm say it.
#include "core/base/launch.h"

#include <map>

#include "core/base/error.h"
#include "tests/support/catch.h"

using namespace mla;
using Catch::Matchers::Contains;

namespace {

using Variables = std::map<std::string, std::string>;

Launch launch_of(const Variables& variables) {
  return read_launch([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  });
}

const Variables kTorchrun{{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "1"}, {"MASTER_ADDR", "node1"}, {"MASTER_PORT", "29500"}};
const Variables kStep{{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_NTASKS", "16"}, {"SLURM_PROCID", "5"}, {"SLURM_LOCALID", "1"},
                      {"SLURM_STEP_NODELIST", "gpu[03-06]"}, {"SLURM_JOB_NODELIST", "gpu[01-06]"}, {"SLURM_JOB_ID", "123456"}};

Variables with(Variables variables, const std::string& name, const std::string& value) {
  variables[name] = value;
  return variables;
}
Variables without(Variables variables, const std::string& name) {
  variables.erase(name);
  return variables;
}

}  // namespace

TEST_CASE("torchrun's variables name the process", "[distributed]") {
  const Launch launch = launch_of(kTorchrun);
  CHECK(launch.rank == 3);
  CHECK(launch.world == 4);
  CHECK(launch.local_rank == 1);
  CHECK(launch.address == "node1");
  CHECK(launch.port == 29500);
  CHECK_FALSE(launch.agent_listens);
  const Launch elastic = launch_of(with(with(kTorchrun, "TORCHELASTIC_USE_AGENT_STORE", "True"), "TORCHELASTIC_RESTART_COUNT", "2"));
  CHECK(elastic.agent_listens);
  CHECK(elastic.attempt == 2);
}

TEST_CASE("a job step of Slurm names the process, its first node and a port of the job's", "[distributed]") {
  const Launch launch = launch_of(kStep);
  CHECK(launch.rank == 5);
  CHECK(launch.world == 8);  // of the step, not of the job
  CHECK(launch.local_rank == 1);
  CHECK(launch.address == "gpu03");
  CHECK(launch.port == 20000 + 123456 % 10000);
  CHECK(launch_of(with(with(kStep, "MASTER_ADDR", "10.0.0.7"), "MASTER_PORT", "12345")).address == "10.0.0.7");
  CHECK(launch_of(without(kStep, "SLURM_STEP_NODELIST")).address == "gpu01");
}

TEST_CASE("a process alone is one: without a launcher, in a batch script, in a world of one", "[distributed]") {
  CHECK_FALSE(launch_of({}).many());
  CHECK_FALSE(launch_of(without(kStep, "SLURM_STEP_ID")).many());
  CHECK_FALSE(launch_of({{"WORLD_SIZE", "1"}}).many());
  CHECK_FALSE(launch_of(with(kStep, "SLURM_STEP_NUM_TASKS", "1")).many());
}

TEST_CASE("the first host of Slurm's lists", "[distributed]") {
  CHECK(first_host("node1") == "node1");
  CHECK(first_host("node1,node2") == "node1");
  CHECK(first_host("n[003-005,9],login") == "n003");
  CHECK(first_host("n[7,9-12]") == "n7");
  CHECK(first_host("rack[1-2]-ib,x") == "rack1-ib");
  for (const char* wrong : {"", ",a", "n[", "n[]", "n[-3]"}) CHECK_THROWS_AS(first_host(wrong), UsageError);
}

TEST_CASE("a variable that is missing or no number is named", "[distributed][errors]") {
  CHECK_THROWS_WITH(launch_of(without(kTorchrun, "MASTER_ADDR")), Contains("MASTER_ADDR"));
  CHECK_THROWS_WITH(launch_of(without(kTorchrun, "RANK")), Contains("RANK"));
  CHECK_THROWS_WITH(launch_of(with(kTorchrun, "RANK", "4")), Contains("RANK from 0 to 3, got '4'"));
  CHECK_THROWS_WITH(launch_of(with(kTorchrun, "WORLD_SIZE", "two")), Contains("'two'"));
  CHECK_THROWS_WITH(launch_of(without(kStep, "SLURM_PROCID")), Contains("SLURM_PROCID"));
}
