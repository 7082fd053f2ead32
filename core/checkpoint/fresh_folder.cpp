#include "core/checkpoint/fresh_folder.h"

#include <unistd.h>

#include "core/base/error.h"
#include "core/base/files.h"

namespace mla {
namespace fs = std::filesystem;

FreshFolder::FreshFolder(fs::path out) : out_(std::move(out)) {
  std::error_code error;
  if (fs::exists(out_) && (!fs::is_directory(out_) || !fs::is_empty(out_)))
    fail<ConfigError>("directory_writer", "wanted a new or empty folder, got ", out_.string(), "; choose another --out or remove it");
  const std::string name = out_.has_filename() ? out_.string() : out_.parent_path().string();
  temporary_ = name + ".partial-" + std::to_string(getpid());
  fs::create_directories(temporary_, error);
  if (error) fail<ResourceError>("directory_writer", "cannot create ", temporary_.string(), ": ", error.message());
}

FreshFolder::~FreshFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void FreshFolder::add_file(const std::string& name, const std::string& content) { write_file_atomically(temporary_ / name, content); }

void FreshFolder::commit(Json record, const CheckWritten& check) {
  const auto write_record = [&] { add_file("mla_conversion.json", record.dump(2) + '\n'); };
  write_record();
  if (check) {
    record.update(check(temporary_));
    write_record();
  }
  std::error_code error;
  fs::remove(out_, error);  // an empty folder of that name
  fs::rename(temporary_, out_, error);
  if (error) fail<ResourceError>("directory_writer", "cannot move ", temporary_.string(), " to ", out_.string(), ": ", error.message());
  temporary_.clear();
}

}  // namespace mla
