#include "studies/sweep/sqlite.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <filesystem>
#include <new>

#include "units/error.hpp"

namespace meshsim {
namespace {

std::string hint_for(int result) {
  switch (result & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR: return "what was committed is kept: free some space and --resume";
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return "another run has it: wait for that, or give another --store";
    case SQLITE_NOTADB: return "give another --store";
    default: return "";
  }
}

std::string_view words_for(int result) {
  switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return "is locked";
    case SQLITE_FULL: return "cannot be written: the disk is full";
    case SQLITE_IOERR: return "cannot be read or written";
    case SQLITE_CANTOPEN: return "cannot be opened";
    case SQLITE_READONLY: return "cannot be written";
    case SQLITE_NOTADB: return "is not a database";
    case SQLITE_CORRUPT: return "is damaged";
    default: return "cannot be used";
  }
}

}  // namespace

SqliteDatabase::SqliteDatabase(const std::string& path) : path_(path) {
  // An absolute path: SQLite takes some relative ones (":memory:", "file:...") for something else.
  std::error_code error;
  const std::string file = std::filesystem::absolute(path, error).string();
  constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
  try {
    check(sqlite3_open_v2(file.c_str(), &handle_, flags, nullptr));
    check(sqlite3_extended_result_codes(handle_, 1));
    // The lock first, so that no other run can come between.
    execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT");
    execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  } catch (...) {
    sqlite3_close_v2(handle_);
    throw;
  }
}

SqliteDatabase::~SqliteDatabase() { sqlite3_close_v2(handle_); }

void SqliteDatabase::check(int result) {
  if (result == SQLITE_OK || result == SQLITE_ROW || result == SQLITE_DONE) return;
  if ((result & 0xff) == SQLITE_NOMEM) throw std::bad_alloc();
  const bool broken = (result & 0xff) == SQLITE_NOTADB || (result & 0xff) == SQLITE_CORRUPT;
  const char* const said = handle_ == nullptr ? "" : sqlite3_errmsg(handle_);
  throw Error(
      broken ? ErrorKind::invalid_input : ErrorKind::io,
      Diagnostic{{path_}, {}, fmt::format("{} ({})", words_for(result), said), hint_for(result)});
}

void SqliteDatabase::execute(const std::string& statements) {
  check(sqlite3_exec(handle_, statements.c_str(), nullptr, nullptr, nullptr));
}

std::int64_t SqliteDatabase::pragma(const std::string& name) {
  SqliteStatement statement(*this, "PRAGMA " + name);
  return statement.step() ? statement.integer(0) : 0;
}

SqliteStatement::SqliteStatement(SqliteDatabase& database, const std::string& text)
    : database_(database) {
  database.check(sqlite3_prepare_v2(database.handle(), text.data(), static_cast<int>(text.size()),
                                    &handle_, nullptr));
}

SqliteStatement::~SqliteStatement() { sqlite3_finalize(handle_); }

void SqliteStatement::bind(int parameter, std::int64_t value) {
  database_.check(sqlite3_bind_int64(handle_, parameter, value));
}

void SqliteStatement::bind(int parameter, double value) {
  database_.check(sqlite3_bind_double(handle_, parameter, value));
}

void SqliteStatement::bind(int parameter, std::string_view value) {
  const char* const text = value.empty() ? "" : value.data();
  database_.check(
      sqlite3_bind_text64(handle_, parameter, text, value.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void SqliteStatement::bind_null(int parameter) {
  database_.check(sqlite3_bind_null(handle_, parameter));
}

bool SqliteStatement::step() {
  const int result = sqlite3_step(handle_);
  database_.check(result);
  return result == SQLITE_ROW;
}

void SqliteStatement::run() {
  while (step()) {
  }
  reset();
}

void SqliteStatement::reset() { sqlite3_reset(handle_); }

bool SqliteStatement::is_null(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_NULL;
}

std::int64_t SqliteStatement::integer(int column) const {
  return sqlite3_column_int64(handle_, column);
}

double SqliteStatement::real(int column) const { return sqlite3_column_double(handle_, column); }

std::string SqliteStatement::text(int column) const {
  const unsigned char* const text = sqlite3_column_text(handle_, column);
  if (text == nullptr) return "";
  return {reinterpret_cast<const char*>(text),
          static_cast<std::size_t>(sqlite3_column_bytes(handle_, column))};
}

}  // namespace meshsim
