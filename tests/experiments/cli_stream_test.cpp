// `convert --stream` as a user runs it: the same bytes as in memory, for every target; what a full disk leaves.
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>

#include "core/base/files.h"
#include "core/base/json.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"
#include "tests/support/drawn_checkpoint.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

const Words kTransmla{"--method", "transmla", "--freqfold", "2", "--qk-mqa-dim", "8", "--kv-lora-rank", "8", "--calibration-ids", "ids.json", "--threads", "2"};

Words convert_to(const std::string& out, const Words& more) { return Words{"convert", "--model", "model", "--out", out} + more; }

// Every file of a folder; of the record without the seconds that healing took.
std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) files[entry.path().filename().string()] = read_text_file(entry.path());
  Json record = Json::parse(files.at("mla_conversion.json"));
  record.erase("healing_seconds");
  files["mla_conversion.json"] = record.dump();
  return files;
}

// Names in a folder, but for the statistics cache that Command keeps there.
std::vector<std::string> left_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  return names;
}

// A file system of `kilobytes`, under `folder`; says why the test is skipped where it cannot be made.
class SmallDisk {
 public:
  SmallDisk(const fs::path& folder, int kilobytes) : folder_(folder) {
    fs::create_directories(folder);
    made_ = mount("none", folder.c_str(), "tmpfs", 0, ("size=" + std::to_string(kilobytes) + "k").c_str()) == 0;
    if (!made_) skip("a small file system cannot be mounted here: " + std::string(std::strerror(errno)));
  }
  ~SmallDisk() {
    if (made_) umount2(folder_.c_str(), MNT_DETACH);
  }
  bool made() const { return made_; }

 private:
  fs::path folder_;
  bool made_ = false;
};

}  // namespace

TEST_CASE("convert --stream writes byte for byte what convert writes in memory, for every target", "[cli][stream]") {
  const TemporaryFolder folder;
  write_drawn_checkpoint(folder.path());
  const Words once{"--recalibrate", "false"}, shards{"--shard-size", "0.00001"};
  const std::map<std::string, Words> cases{
      {"recalibrated", kTransmla},
      {"sharded", kTransmla + once + shards},
      {"transformers", kTransmla + once + Words{"--for", "transformers"} + shards},
      {"vllm", kTransmla + once + Words{"--for", "vllm"}},
      {"llama", kTransmla + once + Words{"--for", "llama.cpp"}},
      {"bf16", kTransmla + once + Words{"--dtype", "bf16"}},
      {"mha2mla", {"--method", "mha2mla", "--rope-selection", "2-norm", "--rope-dim", "4", "--low-rank", "6", "--calibration-ids", "ids.json"}},
      {"svd", {"--method", "svd", "--rank", "6"}},
      {"healed", {"--method", "stream_match", "--freqfold", "2", "--qk-mqa-dim", "8", "--kv-lora-rank", "8", "--steps", "3", "--mlp-ridge", "0.3", "--cal-self-samples", "0", "--calibration-ids",
                  "ids.json", "--threads", "2"}}};
  for (const auto& [name, words] : cases) {
    INFO(name);
    const Finished streamed = mlaforge(folder.path(), convert_to(name + "-stream", words + Words{"--stream"}));
    INFO(streamed.err);
    REQUIRE(streamed.code == 0);
    const Finished in_memory = mlaforge(folder.path(), convert_to(name, words + Words{"--no-stream", "--no-stats-cache"}));
    INFO(in_memory.err);
    REQUIRE(in_memory.code == 0);
    CHECK_THAT(streamed.out, Contains("read back and checked"));
    const auto wanted = files_of(folder / name), found = files_of(folder / (name + "-stream"));
    REQUIRE(wanted.size() == found.size());
    for (const auto& [file, content] : wanted) {
      INFO(file);
      CHECK((found.at(file) == content));
    }
    if (name == "sharded" || name == "transformers") CHECK(found.size() > 6);
  }
  for (const std::string& name : left_in(folder.path())) CHECK_THAT(name, !Contains("partial") && !Contains("scratch"));
}

TEST_CASE("a stream says what it cannot do", "[cli][stream][errors]") {
  const TemporaryFolder folder;
  write_drawn_checkpoint(folder.path());
  const auto refused = [&](const Words& words, const std::string& says) {
    const Finished finished = mlaforge(folder.path(), convert_to("out", words + Words{"--stream", "--calibration-ids", "ids.json"}));
    INFO(says);
    CHECK(finished.code == 2);
    CHECK_THAT(finished.err, Contains(says));
    CHECK_FALSE(fs::exists(folder / "out"));
  };
  refused({"--method", "transmla", "--freqfold", "auto", "--qk-mqa-dim", "8", "--kv-lora-rank", "8"}, "auto");
  refused({"--method", "palu", "--group-rank", "4", "--allocator", "fisher"}, "backward pass");
  refused({"--method", "stream_match", "--freqfold", "2", "--qk-mqa-dim", "8", "--kv-lora-rank", "8", "--cal-self-samples", "2"}, "--cal-self-samples 0");
}

TEST_CASE("a disk that fills at any point of an export leaves nothing that looks complete", "[cli][stream][errors]") {
  const TemporaryFolder folder;
  write_drawn_checkpoint(folder.path());
  for (const std::string target : {"mlaforge", "transformers", "llama.cpp"}) {
    bool done = false;
    int failures = 0;
    for (int kilobytes = 16; !done && kilobytes < 4096; kilobytes += std::max(16, kilobytes / 3)) {
      const SmallDisk disk(folder / "disk", kilobytes);
      if (!disk.made()) return;
      const Words words = kTransmla + Words{"--recalibrate", "false", "--for", target};
      const Finished finished = mlaforge(folder.path(), convert_to("disk/out", kilobytes % 32 == 0 ? words + Words{"--stream"} : words));
      INFO(target << " on " << kilobytes << " kB: " << finished.err);
      done = finished.code == 0;
      if (done) continue;
      ++failures;
      CHECK(finished.code == 4);
      CHECK_THAT(finished.err, Contains("space"));
      CHECK(left_in(folder / "disk").empty());
    }
    CHECK(done);
    CHECK(failures > 1);
  }
}
