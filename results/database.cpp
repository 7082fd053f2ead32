#include "results/database.h"

#include <sqlite3.h>

#include <chrono>
#include <thread>
#include <utility>

#include "core/base/error.h"

namespace mla {
namespace {

constexpr int kBusyTimeoutMs = 30000;

// Polls once a millisecond: SQLite's own handler sleeps up to 100 ms, in which the lock lies idle. `calls` before this one.
int wait_for_lock(void*, int calls) {
  if (calls >= kBusyTimeoutMs) return 0;
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return 1;
}

int open_flags(Database::Mode mode) {
  return mode == Database::Mode::read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
}

}  // namespace

Database::Database(std::filesystem::path path, Mode mode) : path_(std::move(path)), mode_(mode) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path_, ignored)) fail<StoreError>("store", path_.string(), " is a folder; give a file name");
  if (mode == Mode::read_only && !std::filesystem::exists(path_, ignored))
    fail<StoreError>("store", "no run database at ", path_.string(), "; `mlaforge run --store FILE` makes one");
  const int code = sqlite3_open_v2(path_.c_str(), &handle_, open_flags(mode), nullptr);
  try {
    if (code != SQLITE_OK) raise(code, "open");
    configure();
  } catch (...) {
    sqlite3_close_v2(std::exchange(handle_, nullptr));
    throw;
  }
}

Database::~Database() { sqlite3_close_v2(handle_); }

Database::Database(Database&& other) noexcept
    : path_(std::move(other.path_)), mode_(other.mode_), handle_(std::exchange(other.handle_, nullptr)), turn_(std::move(other.turn_)) {}

// A database from elsewhere is untrusted: no functions or views of its schema may do more than read it.
void Database::configure() {
  sqlite3_busy_handler(handle_, wait_for_lock, nullptr);
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_limit(handle_, SQLITE_LIMIT_LENGTH, 256 << 20);
  execute("PRAGMA trusted_schema = OFF");
  execute("PRAGMA foreign_keys = ON");
  execute("PRAGMA synchronous = FULL");
  Statement(*this, "SELECT count(*) FROM sqlite_schema").run();  // reads the header: not a database fails here
}

void Database::execute(const char* sql) {
  const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) raise(code, "write to");
}

void Database::begin_writing() {
  if (!turn_) turn_ = std::make_unique<WriteTurn>(path_);
  turn_->take(kBusyTimeoutMs / 1000.0);
  const int code = sqlite3_exec(handle_, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
  turn_->give();
  if (code != SQLITE_OK) raise(code, "write to");
}

int64_t Database::last_insert_id() const { return sqlite3_last_insert_rowid(handle_); }

void Database::raise(int code, std::string_view doing) const {
  const std::string where = "cannot " + std::string(doing) + ' ' + path_.string() + ": ";
  const std::string reason = handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_NOTADB: fail<StoreError>("store", where, "it is not an SQLite database; choose another --store");
    case SQLITE_CORRUPT: fail<StoreError>("store", where, reason, "; restore a copy, or save what is left with `sqlite3 FILE .recover`");
    case SQLITE_BUSY: fail<StoreError>("store", where, "another process has held its lock for 30 s; try again when it has finished");
    case SQLITE_READONLY:
      if (mode_ == Mode::read_only)
        fail<StoreError>("store", where, "it is open for reading only; a run that writes to it also repairs what a killed one left");
      [[fallthrough]];
    case SQLITE_PERM:
    case SQLITE_CANTOPEN: fail<ResourceError>("store", where, reason, "; choose a --store in a folder that can be written");
    case SQLITE_FULL:
    case SQLITE_IOERR: {
      std::error_code ignored;
      const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
      const auto space = std::filesystem::space(folder, ignored);
      const auto free_mib = ignored ? "unknown" : std::to_string(space.available >> 20);
      fail<ResourceError>("store", where, reason, "; no space or a size limit (", free_mib, " MiB free there)");
    }
    case SQLITE_NOMEM: fail<ResourceError>("store", where, "out of memory");
    default: fail<StoreError>("store", where, reason);
  }
}

Statement::Statement(const Database& database, std::string_view sql) : database_(database) {
  const int code = sqlite3_prepare_v2(database.handle(), sql.data(), static_cast<int>(sql.size()), &handle_, nullptr);
  if (code != SQLITE_OK) database_.raise(code, "read");
}

Statement::~Statement() { sqlite3_finalize(handle_); }

Statement& Statement::bind(int index, int64_t value) {
  if (const int code = sqlite3_bind_int64(handle_, index, value); code != SQLITE_OK) database_.raise(code, "write to");
  return *this;
}

Statement& Statement::bind(int index, double value) {
  if (const int code = sqlite3_bind_double(handle_, index, value); code != SQLITE_OK) database_.raise(code, "write to");
  return *this;
}

Statement& Statement::bind(int index, std::string_view value) {
  const int code = sqlite3_bind_text64(handle_, index, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (code != SQLITE_OK) database_.raise(code, "write to");
  return *this;
}

Statement& Statement::bind_null(int index) {
  if (const int code = sqlite3_bind_null(handle_, index); code != SQLITE_OK) database_.raise(code, "write to");
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  database_.raise(code, "use");
}

void Statement::run() {
  while (step()) {
  }
  reset();
}

void Statement::reset() { sqlite3_reset(handle_); }

Statement::Type Statement::type(int column) const {
  switch (sqlite3_column_type(handle_, column)) {
    case SQLITE_NULL: return Type::null;
    case SQLITE_INTEGER: return Type::integer;
    case SQLITE_FLOAT: return Type::real;
    default: return Type::text;
  }
}
int Statement::columns() const { return sqlite3_column_count(handle_); }
int64_t Statement::integer(int column) const { return sqlite3_column_int64(handle_, column); }
double Statement::real(int column) const { return sqlite3_column_double(handle_, column); }
std::string Statement::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  return data != nullptr ? std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column))) : std::string();
}

Transaction::Transaction(Database& database) : database_(database) { database_.begin_writing(); }

Transaction::~Transaction() {
  if (open_) sqlite3_exec(database_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  database_.execute("COMMIT");
  open_ = false;
}

}  // namespace mla
