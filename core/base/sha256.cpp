#include "core/base/sha256.h"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/json.h"

namespace mla {
namespace {

// inode, size and modification time: what must be equal for a remembered hash to hold.
std::string file_key(const std::filesystem::path& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return {};
  return std::to_string(info.st_dev) + ':' + std::to_string(info.st_ino) + ':' + std::to_string(info.st_size) + ':' +
         std::to_string(info.st_mtim.tv_sec) + '.' + std::to_string(info.st_mtim.tv_nsec);
}

// The memory of hashes is a convenience: whatever is wrong with it, the hash is computed again.
Json remembered_hashes(const std::filesystem::path& file) {
  try {
    const Json known = read_json_file(file);
    return known.is_object() ? known : Json::object();
  } catch (const Error&) {
    return Json::object();
  }
}

}  // namespace

std::string sha256_hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) != 1)
    fail<ResourceError>("sha256", "the hash of ", bytes.size(), " bytes could not be computed");
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

std::string sha256_of_file(const std::filesystem::path& path) {
  const std::string key = file_key(path);
  std::filesystem::path memory;
  Json known = Json::object();
  try {
    memory = cache_root() / "hashes.json";
    known = remembered_hashes(memory);
  } catch (const Error&) {
  }
  if (const auto found = known.find(key); found != known.end() && found->is_string()) return found->get<std::string>();
  const MappedFile file(path);
  const std::string hash = sha256_hex({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
  file.release(0, file.bytes().size());
  if (memory.empty()) return hash;
  try {
    if (known.size() > 1000) known = Json::object();
    known[key] = hash;
    write_file_atomically(memory, known.dump());
  } catch (const Error&) {
  }
  return hash;
}

std::string sha256_of_path(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return sha256_of_file(path);
  std::vector<std::string> lines;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.is_regular_file()) lines.push_back(entry.path().filename().string() + ' ' + sha256_of_file(entry.path()) + '\n');
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const std::string& line : lines) all += line;
  return sha256_hex(all);
}

}  // namespace mla
