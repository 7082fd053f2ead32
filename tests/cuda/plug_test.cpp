#include "core/cuda/plug.h"

#include <fstream>

#include "tests/cuda/backends.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::gpu;

namespace {

// An environment variable for the length of a test.
class Setting {
 public:
  Setting(const char* name, const std::string& value) : name_(name), before_(test::environment(name)) { setenv(name, value.c_str(), 1); }
  ~Setting() { before_.empty() ? unsetenv(name_) : setenv(name_, before_.c_str(), 1); }

 private:
  const char* name_;
  std::string before_;
};

CudaTable emulated_table() { return *mlaforge_cuda_table(); }

}  // namespace

TEST_CASE("the module is looked for beside the program and in the library folders", "[cuda][plug]") {
  const Setting none("MLAFORGE_CUDA_MODULE", "");
  const std::vector<std::filesystem::path> places = module_places();
  REQUIRE(places.size() >= 3);
  for (const auto& place : places) {
    CHECK(place.is_absolute());
    CHECK(place.filename() == kModuleName);
  }
  CHECK(places[0].parent_path() == std::filesystem::read_symlink("/proc/self/exe").parent_path());
  CHECK(places[1].parent_path().filename() == "lib");
  const Setting given("MLAFORGE_CUDA_MODULE", "/a/b.so");
  CHECK(module_places() == std::vector<std::filesystem::path>{"/a/b.so"});
}

TEST_CASE("a module that is not there is an error that says where it was looked for", "[cuda][plug][errors]") {
  CHECK_THROWS_WITH(load_module({"/nowhere/a.so", "/nowhere/b.so"}), Catch::Contains("/nowhere/a.so, /nowhere/b.so") && Catch::Contains("found none") && Catch::Contains("MLAFORGE_CUDA_MODULE"));
  CHECK_THROWS_AS(load_module({}), CudaError);
}

TEST_CASE("a file that is no module is an error that names it", "[cuda][plug][errors]") {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "broken.so") << "not a library";
  CHECK_THROWS_WITH(load_module({"/nowhere/a.so", folder / "broken.so"}), Catch::Contains("broken.so"));
  CHECK_THROWS_WITH(load_module({std::filesystem::canonical("/proc/self/exe").parent_path() / "../lib/../tests/test_cuda"}), Catch::Contains("test_cuda"));  // a program
}

TEST_CASE("a module of another version or build is refused", "[cuda][plug][errors]") {
  CHECK_NOTHROW(check_table(emulated_table(), "here"));
  CudaTable other = emulated_table();
  other.version = kTableVersion + 1;
  CHECK_THROWS_WITH(check_table(other, "here.so"), Catch::Contains("here.so") && Catch::Contains("build program and module together"));
  other = emulated_table();
  other.bytes_of_decode += 8;
  CHECK_THROWS_AS(check_table(other, "here"), CudaError);
}

TEST_CASE("no device, a missing index, another architecture and an old driver are told apart", "[cuda][plug][errors]") {
  CudaTable table = emulated_table();
  CHECK(open_card(table).multiprocessors == 4);
  CHECK_THROWS_WITH(open_card(table, 1), Catch::Contains("device 1") && Catch::Contains("machine with 1"));
  table.card_count = [](int*) { return 100; };
  CHECK_THROWS_WITH(open_card(table), Catch::Contains("there is none"));
  table.card_count = [](int*) { return 35; };
  CHECK_THROWS_WITH(open_card(table), Catch::Contains("driver"));
  table = emulated_table();
  table.probe = [](int) { return 209; };
  CHECK_THROWS_WITH(open_card(table), Catch::Contains("compute capability 9.0") && Catch::Contains("built for host") && Catch::Contains("90-real"));
}

TEST_CASE("a launch that fails names its operator", "[cuda][plug][errors]") {
  CudaTable table = emulated_table();
  table.swiglu = [](const SwigluArgs*, void*) { return 2; };
  table.synchronize = [] { return 2; };
  float x[3] = {};
  CHECK_THROWS_WITH(Operators(table).swiglu({Type::fp32, 1, 1, x, x + 2}, nullptr), Catch::Contains("launch swiglu") && Catch::Contains("out of memory"));
  CHECK_THROWS_AS(Operators(table).synchronize(), CudaError);
}

TEST_CASE("memory that the card has not is an error with what is free", "[cuda][plug][errors]") {
  CudaTable table = emulated_table();
  table.allocate = [](void**, size_t) { return 2; };
  CHECK_THROWS_WITH(CardMemory(table, 1000), Catch::Contains("wanted 1000 bytes") && Catch::Contains("4294967296 free") && Catch::Contains("smaller batch"));
  CHECK_THROWS_AS(CardMemory(table, 1000), ResourceError);
  CHECK_NOTHROW(CardMemory(table, 0));
}

TEST_CASE("a decode kernel is asked for by its name", "[cuda][plug][errors]") {
  CHECK(decode_kernel_named("") == DecodeKernel::fitting);
  CHECK(decode_kernel_named("fitting") == DecodeKernel::fitting);
  CHECK(decode_kernel_named("wgmma") == DecodeKernel::wgmma);
  CHECK_THROWS_WITH(decode_kernel_named("mma"), Catch::Contains("'fitting' or 'wgmma', got 'mma'"));
  CHECK(limits_of({"H100", 9, 0, 132, 232448, 0, 0}).warpgroups);
  CHECK_FALSE(limits_of({"B200", 10, 0, 148, 232448, 0, 0}).warpgroups);
}

TEST_CASE("the built module opens and has this program's version", "[cuda][plug]") {
  const std::vector<std::filesystem::path> places = module_places();
  if (std::none_of(places.begin(), places.end(), [](const auto& place) { return std::filesystem::is_regular_file(place); })) return skip("the CUDA module is not built: nvcc was not found");
  const CudaTable& table = open_module();
  CHECK(table.version == kTableVersion);
  CHECK(std::string(table.architectures).find("90a") != std::string::npos);
  int count = -1;
  if (const int code = table.card_count(&count); code != 0) CHECK(std::string(table.error_text(code)) != "");
}
