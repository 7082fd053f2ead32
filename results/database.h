// SQLite behind two small owners: a connection and a prepared statement. Every failure becomes a typed error that names
// the file, the reason and what to do.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "results/write_turn.h"

struct sqlite3;
struct sqlite3_stmt;

namespace mla {

// One connection. Not to be carried across fork(): open after forking.
class Database {
 public:
  enum class Mode { read_write_create, read_only };

  // Throws StoreError (not a database, unreadable) or ResourceError (unwritable folder, no space left).
  Database(std::filesystem::path path, Mode mode);
  ~Database();
  Database(Database&& other) noexcept;
  Database& operator=(Database&&) = delete;

  void execute(const char* sql);
  void begin_writing();  // BEGIN IMMEDIATE, in turn with the other writers of this machine
  int64_t last_insert_id() const;
  sqlite3* handle() const { return handle_; }
  const std::filesystem::path& path() const { return path_; }
  // Translates a result code of SQLite; `doing` completes "cannot ...".
  [[noreturn]] void raise(int code, std::string_view doing) const;

 private:
  void configure();

  std::filesystem::path path_;
  Mode mode_;
  sqlite3* handle_ = nullptr;
  std::unique_ptr<WriteTurn> turn_;  // of a connection that has written
};

// A prepared statement; parameters count from 1, columns from 0. Must not outlive its database.
class Statement {
 public:
  Statement(const Database& database, std::string_view sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int index, int64_t value);
  Statement& bind(int index, double value);
  Statement& bind(int index, std::string_view value);
  Statement& bind_null(int index);
  template <class T>
  Statement& bind(int index, const std::optional<T>& value) {
    return value ? bind(index, *value) : bind_null(index);
  }

  bool step();  // true while there is a row
  void run();   // steps to the end and resets, so that the statement can be bound again
  void reset();
  enum class Type { null, integer, real, text };
  Type type(int column) const;
  int columns() const;
  bool is_null(int column) const { return type(column) == Type::null; }
  int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;
  sqlite3_stmt* handle() const { return handle_; }

 private:
  const Database& database_;
  sqlite3_stmt* handle_ = nullptr;
};

// BEGIN IMMEDIATE, so that a writer waits for the lock instead of failing on a stale snapshot. Rolls back unless committed.
class Transaction {
 public:
  explicit Transaction(Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace mla
