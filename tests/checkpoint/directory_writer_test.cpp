#include "core/checkpoint/directory_writer.h"

#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/catch.h"

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/process.h"
#include "core/checkpoint/checkpoint.h"
#include "core/checkpoint/tensor_scratch.h"
#include "tests/support/bytes.h"
#include "tests/support/paths.h"
#include "tests/support/smallest_disk.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;
using Catch::Contains;

TEST_CASE("a written folder reads back with equal tensors and configuration", "[checkpoint][io]") {
  const TemporaryFolder folder;
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16, at::kHalf);
  const at::Tensor x = tiny_inputs(2, 3, 5).to(type), turned = tiny_inputs(1, 7, 4, 5)[0].t().to(type), none = at::zeros({0, 3}, type);
  REQUIRE_FALSE(turned.is_contiguous());
  fs::create_directories(folder / "model");  // an empty folder is as good as none

  DirectoryWriter writer(folder / "model", config_to_hf(tiny_decoder().config));
  writer.add("x", x);
  writer.add("turned", turned);
  writer.add("none", none);
  writer.add_file("note.txt", "kept");
  writer.finish({{"method", "test"}});

  const auto read = Checkpoint::open(folder / "model");
  CHECK(at::equal(read->load("x", type), x));
  CHECK(at::equal(read->load("x", at::kDouble), x.to(at::kDouble)));
  CHECK(at::equal(read->load("turned", type), turned));
  CHECK(read->load("none", type).sizes() == none.sizes());
  CHECK(config_to_hf(read->config()) == config_to_hf(tiny_decoder().config));
  CHECK(read_text_file(folder / "model/note.txt") == "kept");
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("a writer refuses what exists, and leaves nothing when it is not finished", "[checkpoint][errors]") {
  const TemporaryFolder folder;
  fs::create_directories(folder / "full");
  write_bytes(folder / "full/keep.txt", "mine");
  write_bytes(folder / "file", "mine");
  const Json config = config_to_hf(tiny_decoder().config);

  CHECK_THROWS_AS(DirectoryWriter(folder / "full", config), ConfigError);
  CHECK_THROWS_AS(DirectoryWriter(folder / "file", config), ConfigError);
  {
    DirectoryWriter writer(folder / "new", config);
    writer.add("x", at::ones({3}));
    writer.add_file("note.txt", "half");
  }

  CHECK(read_text_file(folder / "full/keep.txt") == "mine");
  CHECK(read_text_file(folder / "file") == "mine");
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 2);
}

TEST_CASE("tensors beyond a shard go into numbered files with an index, and read back", "[checkpoint][io]") {
  const TemporaryFolder folder;
  DirectoryWriter writer(folder / "model", config_to_hf(tiny_decoder().config), 100);
  const std::vector<std::pair<std::string, at::Tensor>> tensors{
      {"a", tiny_inputs(1, 2, 5)[0]}, {"b", tiny_inputs(1, 3, 5)[0]}, {"c", tiny_inputs(1, 9, 9)[0]}, {"d", at::ones({1})}};  // 40, 60, 324, 4 bytes
  for (const auto& [name, tensor] : tensors) writer.add(name, tensor);
  writer.finish({{"method", "test"}});

  const Json index = read_json_file(folder / "model/model.safetensors.index.json"), record = read_json_file(folder / "model/mla_conversion.json");
  CHECK(index["metadata"]["total_size"] == 428);
  CHECK(index["weight_map"] == Json{{"a", "model-00001-of-00003.safetensors"}, {"b", "model-00001-of-00003.safetensors"}, {"c", "model-00002-of-00003.safetensors"},
                                    {"d", "model-00003-of-00003.safetensors"}});
  CHECK(record["sha256"].size() == 3);
  const auto read = Checkpoint::open(folder / "model");
  for (const auto& [name, tensor] : tensors) CHECK(at::equal(read->load(name, at::kFloat), tensor));
}

TEST_CASE("a folder that fails its check is not there afterwards; one that passes carries what the check said", "[checkpoint][errors]") {
  const TemporaryFolder folder;
  const auto write = [&](const CheckWritten& check) {
    DirectoryWriter writer(folder / "model", config_to_hf(tiny_decoder().config));
    writer.add("x", at::ones({3}));
    writer.finish({{"method", "test"}}, check);
  };
  CHECK_THROWS_AS(write([&](const fs::path& written) -> Json {
                    CHECK(fs::is_regular_file(written / "mla_conversion.json"));
                    CHECK_FALSE(fs::exists(folder / "model"));
                    fail<NumericalError>("test", "not equal");
                  }),
                  NumericalError);
  CHECK(fs::is_empty(folder.path()));
  write([](const fs::path&) { return Json{{"parity", 0}}; });
  CHECK(read_json_file(folder / "model/mla_conversion.json")["parity"] == 0);
}

TEST_CASE("a disk that fills while shards are written leaves no folder behind", "[checkpoint][errors]") {
  const TemporaryFolder folder;
  DirectoryWriter writer(folder / "model", config_to_hf(tiny_decoder().config), 100'000);
  for (const char* name : {"a", "b", "c"}) writer.add(name, at::ones({20'000}));  // 80 kB each
  {
    const SmallestDisk disk(50'000);
    CHECK_THROWS_AS(writer.finish({{"method", "test"}}), ResourceError);
  }
  CHECK_FALSE(fs::exists(folder / "model"));
}

TEST_CASE("an interrupt while tensors are written leaves no folder behind", "[checkpoint][errors]") {
  const TemporaryFolder folder;
  const pid_t child = fork();  // the flag of an interrupt stays set in a process
  if (child == 0) {
    bool stopped = false;
    try {
      DirectoryWriter writer(folder / "model", config_to_hf(tiny_decoder().config));
      writer.add("a", LaterTensor(at::kFloat, {3}, [] {
        request_interrupt();
        return at::ones({3});
      }));
      writer.add("b", at::ones({3}));
      writer.finish({{"method", "test"}});
    } catch (const Interrupted&) {
      stopped = true;
    }
    _exit(stopped && fs::is_empty(folder.path()) ? 0 : 1);
  }
  int state = -1;
  waitpid(child, &state, 0);
  CHECK(state == 0);
}

TEST_CASE("a tensor that comes later is asked for once, when its turn comes, and must be what was announced", "[checkpoint][io]") {
  const TemporaryFolder folder;
  std::vector<std::string> asked;
  const auto later = [&](const char* name, const at::Tensor& tensor) {
    return LaterTensor(tensor.scalar_type(), tensor.sizes().vec(), [&asked, name, tensor] {
      asked.emplace_back(name);
      return tensor;
    });
  };
  DirectoryWriter writer(folder / "model", config_to_hf(tiny_decoder().config), 100);
  writer.add("b", later("b", at::full({2, 9}, 2.5)));
  writer.add("a", later("a", at::full({3}, 1.5).to(at::kBFloat16)));
  CHECK(asked.empty());
  writer.finish({{"method", "test"}});
  CHECK(asked == std::vector<std::string>{"b", "a"});
  CHECK(at::equal(Checkpoint::open(folder / "model")->load("b", at::kFloat), at::full({2, 9}, 2.5)));

  DirectoryWriter wrong(folder / "wrong", config_to_hf(tiny_decoder().config));
  wrong.add("c", LaterTensor(at::kFloat, {4}, [] { return at::ones({3}); }));
  CHECK_THROWS_AS(wrong.finish({}), ShapeError);
  CHECK_FALSE(fs::exists(folder / "wrong"));
}

TEST_CASE("tensors in a scratch file come back bit for bit, and the file has no name", "[checkpoint][io]") {
  const TemporaryFolder folder;
  TensorScratch scratch(folder.path());
  const std::vector<at::Tensor> tensors{tiny_inputs(1, 3, 5)[0].t(), at::tensor({1, 2, 3}, at::kLong), at::zeros({0, 4}), at::full({}, 2.5, at::kDouble)};
  for (std::size_t i = 0; i < tensors.size(); ++i) CHECK(scratch.put(tensors[i]) == i);
  CHECK(fs::is_empty(folder.path()));
  for (std::size_t i = tensors.size(); i-- > 0;) {
    CHECK(scratch.get(i).scalar_type() == tensors[i].scalar_type());
    CHECK(at::equal(scratch.get(i), tensors[i]));
  }
  CHECK_THROWS_AS(TensorScratch(folder / "absent"), ResourceError);
  const SmallestDisk disk(100);
  CHECK_THROWS_AS(scratch.put(at::zeros({100})), ResourceError);
}
