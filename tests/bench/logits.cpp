// logits MODEL DTYPE IDS.json OUT.f32: logits [B,T,V] of token ids [[...], ...] as raw fp32. For tests/oracle/export_logits.py.
#include <c10/core/InferenceMode.h>

#include <iostream>

#include "core/base/files.h"
#include "core/model/decoder.h"
#include "core/model/deepseek_folder.h"
#include "core/model/deepseek_gguf.h"

int main(int count, char** words) {
  if (count != 5) {
    std::cerr << "usage: logits MODEL DTYPE IDS.json OUT.f32\n";
    return 2;
  }
  try {
    const c10::InferenceMode inference;
    const std::filesystem::path model = words[1], out = words[4];
    const at::ScalarType dtype = mla::parse_dtype(words[2]);
    const mla::Json config = std::filesystem::is_directory(model) ? mla::read_json_file(model / "config.json") : mla::Json::object();
    const bool gguf = !std::filesystem::is_directory(model) && mla::GgufFile(model).get_string("general.architecture") == "deepseek2";
    const bool deepseek = config.value("model_type", mla::Json()) == "deepseek_v3";
    const mla::Decoder decoder = gguf ? mla::load_deepseek_gguf(model, at::kCPU, dtype) : deepseek ? mla::load_deepseek(model, at::kCPU, dtype) : mla::load_decoder(*mla::Checkpoint::open(model), at::kCPU, dtype);
    std::vector<at::Tensor> rows;
    for (const mla::Json& row : mla::read_json_file(words[3])) rows.push_back(at::tensor(row.get<std::vector<int64_t>>()));
    const at::Tensor logits = decoder.logits(decoder.last_hidden(at::stack(rows))).contiguous();
    mla::write_file_atomically(out, {static_cast<const char*>(logits.const_data_ptr()), logits.nbytes()});
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
