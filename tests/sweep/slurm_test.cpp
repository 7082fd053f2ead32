// Job arrays: what is written, and what is asked of Slurm's commands (scripts of ours in their place; scripts/slurm_node runs the real ones).
#include "experiments/sweep/slurm.h"

#include <cstdlib>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/shell.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

SlurmArray array_of(const fs::path& store, int jobs) {
  SlurmArray array{"zoo", store, "/opt/mla forge", "{\"name\": \"zoo\"}\n", {"--threads", "4", "--set", "freqfold=1-8*2"}, {}};
  for (int i = 0; i < jobs; ++i) array.jobs.push_back("key" + std::to_string(i));
  array.cpus = 4;
  return array;
}

// Stands before the real programs on the PATH while it lives.
class FakeCommands {
 public:
  explicit FakeCommands(const fs::path& folder) : old_(std::getenv("PATH")) { setenv("PATH", (folder.string() + ":" + old_).c_str(), 1); }
  ~FakeCommands() { setenv("PATH", old_.c_str(), 1); }

 private:
  std::string old_;
};

void fake(const fs::path& folder, const std::string& name, const std::string& script) {
  write_file_atomically(folder / name, "#!/bin/sh\n" + script);
  fs::permissions(folder / name, fs::perms::owner_all);
}

}  // namespace

TEST_CASE("a word that a shell would split or expand is quoted", "[base][shell]") {
  CHECK(shell_line({"run", "--model", "a b", "it's", "$HOME", ""}) == "run --model 'a b' 'it'\\''s' '$HOME' ''");
}

TEST_CASE("an array's folder has a line per task, a database per task, and a merge job", "[sweep][slurm]") {
  const TemporaryFolder folder;
  SlurmArray array = array_of(folder / "100% runs.db", 3);
  array.options = {"--time=01:00:00", "--partition=main"};
  array.running = 2;
  const fs::path made = write_array(array);

  CHECK(made == slurm_folder(array.store) / "zoo" / "0001");
  CHECK(read_text_file(made / "tasks") == "--job key0\n--job key1\n--job key2\n");
  CHECK(read_text_file(made / "sweep.json") == array.sweep);
  const std::string script = read_text_file(made / "array.sh");
  CHECK_THAT(script, Contains("#SBATCH --array=0-2%2\n") && Contains("#SBATCH --cpus-per-task=4\n") && Contains("#SBATCH --time=01:00:00\n"));
  CHECK_THAT(script, Contains("100%% runs.db.slurm/zoo/0001/logs/%a.out\""));
  CHECK_THAT(script, Contains("exec '/opt/mla forge' sweep '" + (made / "sweep.json").string() + "' --threads 4 --set 'freqfold=1-8*2' $jobs --store '"));
  CHECK_THAT(read_text_file(made / "merge.sh"), Contains("runs merge \"$each\" --store '" + array.store.string() + "'"));
  CHECK(write_array(array).filename() == "0002");
}

TEST_CASE("more jobs than an array holds share its tasks", "[sweep][slurm]") {
  const TemporaryFolder folder;
  SlurmArray array = array_of(folder / "runs.db", 7);
  array.most_tasks = 3;
  const fs::path made = write_array(array);
  CHECK(read_text_file(made / "tasks") == "--job key0 --job key1 --job key2\n--job key3 --job key4 --job key5\n--job key6\n");
  CHECK_THAT(read_text_file(made / "array.sh"), Contains("--array=0-2\n"));
}

TEST_CASE("an array that Slurm's headers cannot hold is refused before anything is written", "[sweep][slurm][errors]") {
  const TemporaryFolder folder;
  SlurmArray bad_name = array_of(folder / "runs.db", 1);
  bad_name.name = "../zoo";
  CHECK_THROWS_WITH(write_array(bad_name), Contains("letters, digits"));
  CHECK_THROWS_WITH(write_array(array_of(folder / "a\"b.db", 1)), Contains("quotes"));
  CHECK_THROWS_WITH(write_array(array_of(folder / "runs.db", 0)), Contains("at least one"));
  SlurmArray bad_option = array_of(folder / "runs.db", 1);
  bad_option.options = {"--time=1\nrm -rf x"};
  CHECK_THROWS_WITH(write_array(bad_option), Contains("sbatch option"));
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("an array and its merge job are submitted together or not at all", "[sweep][slurm]") {
  const TemporaryFolder folder, programs;
  const FakeCommands path(programs.path());
  const std::string log = (folder / "log").string();
  fake(programs.path(), "scancel", "echo scancel \"$@\" >> " + log + "\n");
  fake(programs.path(), "sbatch", "echo sbatch \"$@\" >> " + log + "\ncase \"$*\" in *merge.sh) echo 8 ;; *) echo '7;cluster' ;; esac\n");
  const fs::path store = folder / "runs.db";
  const fs::path made = write_array(array_of(store, 2));
  const Submitted submitted = submit_array(made);
  CHECK(submitted.array == "7");
  CHECK(submitted.merge == "8");
  CHECK_THAT(read_text_file(log), Contains("--dependency=afterany:7 " + (made / "merge.sh").string()));

  fake(programs.path(), "squeue", "[ \"$*\" = '--noheader --jobs=7' ] && echo '7_1 R'\n");
  CHECK(arrays_in_queue(store, "zoo") == std::vector<std::string>{"7"});
  fake(programs.path(), "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1\n");
  CHECK(arrays_in_queue(store, "zoo").empty());

  fake(programs.path(), "sbatch", "case \"$*\" in *merge.sh) echo 'error: invalid partition' >&2; exit 1 ;; *) echo 9 ;; esac\n");
  CHECK_THROWS_WITH(submit_array(write_array(array_of(store, 2))), Contains("invalid partition"));
  CHECK_THAT(read_text_file(log), Contains("scancel 9"));
}

TEST_CASE("without Slurm the error says what else there is", "[sweep][slurm][errors]") {
  const TemporaryFolder folder, empty;
  const fs::path made = write_array(array_of(folder / "runs.db", 1));
  const std::string old = std::getenv("PATH");
  setenv("PATH", empty.path().c_str(), 1);
  CHECK_THROWS_WITH(submit_array(made), Contains("--launcher print"));
  setenv("PATH", old.c_str(), 1);
}
