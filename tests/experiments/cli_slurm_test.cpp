// A job array on a real Slurm of one node, which scripts/slurm_node starts on the loopback address.
#include <chrono>
#include <cstdlib>
#include <thread>

#include "core/base/files.h"
#include "core/base/json.h"
#include "results/store.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

constexpr int kPackagesMissing = 77;

class SlurmNode {
 public:
  SlurmNode() : code_(call("start")) {
    if (code_ == 0) setenv("SLURM_CONF", (folder_ / "slurm.conf").c_str(), 1);
  }
  ~SlurmNode() {
    call("stop");
    unsetenv("SLURM_CONF");
  }
  int code() const { return code_; }

 private:
  int call(const char* action) const {
    const std::string line = "'" + (source_dir() / "scripts" / "slurm_node").string() + "' " + action + " '" + folder_.path().string() + "' >/dev/null";
    return WEXITSTATUS(std::system(line.c_str()));
  }

  TemporaryFolder folder_;
  int code_;
};

bool queue_is_empty() { return std::system("test -z \"$(squeue --noheader)\"") == 0; }

void wait_for_queue() {
  for (int i = 0; i < 1200 && !queue_is_empty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(500));
}

}  // namespace

TEST_CASE("a sweep becomes a Slurm array whose databases are joined, failures recorded, and a second call has nothing to submit", "[cli][sweep][slurm]") {
  if (smollm2().empty()) return skip("the model is not here");
  const SlurmNode node;
  if (node.code() == kPackagesMissing) return skip("Slurm is not installed (slurmctld slurmd slurm-client munge), or this is not root");
  REQUIRE(node.code() == 0);
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 40; ++i) text += "The river number " + std::to_string(i) + " runs to the sea. ";
  write_file_atomically(folder / "text.txt", text);
  write_file_atomically(folder / "sweep.json", R"({"name": "quick", "base": {"model": ")" + smollm2().string() + R"(", "corpus": "text.txt", "window": 32, "max_windows": 1},
    "grids": [{"method": "mha2mla", "rope_selection": ["high", "low"], "rope_dim": 32, "svd": "none"},
              {"method": "mha2mla", "rope_selection": "high", "rope_dim": 32, "svd": "none", "window": 8000}]})");

  CHECK_THAT(mlaforge(folder.path(), {"sweep", "sweep.json", "--launcher", "slurm"}).err, Contains("--threads"));
  const std::vector<std::string> command{"sweep", "sweep.json", "--launcher", "slurm", "--threads", "1"};
  const Finished submitted = mlaforge(folder.path(), command);
  INFO(submitted.err);
  REQUIRE(submitted.code == 0);
  CHECK_THAT(submitted.out, Contains("3 to submit") && Contains("Submitted array"));
  const Finished early = mlaforge(folder.path(), command);
  CHECK((early.code == 2 || queue_is_empty()));  // refused while the array is in the queue
  wait_for_queue();

  CHECK(Store::open_read_only(folder / "runs.db").runs().size() == 2);  // the merge job brought them
  const Finished again = mlaforge(folder.path(), command);
  CHECK(again.code == 0);
  CHECK_THAT(again.out, Contains("2 of 3 done, 1 failed, 0 to submit"));
  const Finished local = mlaforge(folder.path(), {"sweep", "sweep.json", "--threads", "1"});
  CHECK_THAT(local.out, Contains("2 of 3 done (0 now), 1 failed") && Contains("8000 tokens"));

  const Finished retried = mlaforge(folder.path(), {"sweep", "sweep.json", "--launcher", "slurm", "--threads", "1", "--retry-failed", "--no-submit"});
  CHECK_THAT(retried.out, Contains("1 to submit") && Contains("Not submitted"));
}
