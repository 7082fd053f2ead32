// A folder that appears whole or not at all: filled as a sibling of its place, renamed when everything is written and checked.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "core/base/json.h"

namespace mla {

// Small files that stand beside the weights: name -> content, byte for byte.
using FolderFiles = std::map<std::string, std::string>;

// Looks at a folder that is written but not yet in its place; what it returns joins the record. Throws to have the folder removed.
using CheckWritten = std::function<Json(const std::filesystem::path& written)>;

class FreshFolder {
 public:
  // Throws ConfigError when `out` exists and is not an empty folder, ResourceError when it cannot be made.
  explicit FreshFolder(std::filesystem::path out);
  ~FreshFolder();  // what was not committed goes
  FreshFolder(const FreshFolder&) = delete;
  FreshFolder& operator=(const FreshFolder&) = delete;

  const std::filesystem::path& path() const { return temporary_; }  // where to write until commit()
  void add_file(const std::string& name, const std::string& content);
  // Writes mla_conversion.json, has the folder checked, writes the record again with what the check says, and renames.
  // Throws ResourceError, and whatever the check throws.
  void commit(Json record, const CheckWritten& check = {});

 private:
  std::filesystem::path out_, temporary_;
};

}  // namespace mla
