#include "core/base/sha256.h"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/json.h"
#include "core/base/running_hash.h"

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

struct RunningHash::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

namespace {
void require_done(int answer) {
  if (answer != 1) fail<ResourceError>("sha256", "a hash could not be computed");
}
}  // namespace

RunningHash::RunningHash() : state_(std::make_unique<State>()) { require_done(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr)); }
RunningHash::~RunningHash() = default;

void RunningHash::add(const void* data, std::size_t size) { require_done(EVP_DigestUpdate(state_->context, data, size)); }

std::string RunningHash::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  require_done(EVP_DigestFinal_ex(state_->context, digest, &size));
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

std::string sha256_hex(std::string_view bytes) {
  RunningHash hash;
  hash.add(bytes.data(), bytes.size());
  return hash.hex();
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
  constexpr std::size_t kPiece = std::size_t{64} << 20;
  RunningHash whole;
  for (std::size_t begin = 0; begin < file.bytes().size(); begin += kPiece) {
    const auto piece = file.bytes().subspan(begin, std::min(kPiece, file.bytes().size() - begin));
    whole.add(piece.data(), piece.size());
    file.release(begin, piece.size());
  }
  const std::string hash = whole.hex();
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
