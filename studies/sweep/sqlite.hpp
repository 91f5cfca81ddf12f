// A database file and its statements: SQLite's calls, with every result looked at.
//
// WAL mode, each commit flushed to disk, the file locked for as long as it is open. Throws Error:
// io when the file cannot be used, another program holds it or the disk is full (a failed
// transaction leaves what was committed before it); invalid_input when it is no database.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace meshsim {

class SqliteDatabase {
 public:
  explicit SqliteDatabase(const std::string& path);
  ~SqliteDatabase();
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;

  void execute(const std::string& statements);
  std::int64_t pragma(const std::string& name);
  const std::string& path() const { return path_; }

  void check(int result);  // throws unless it is OK, ROW or DONE
  sqlite3* handle() { return handle_; }

 private:
  std::string path_;
  sqlite3* handle_ = nullptr;
};

class SqliteStatement {
 public:
  SqliteStatement(SqliteDatabase& database, const std::string& text);
  ~SqliteStatement();
  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;

  void bind(int parameter, std::int64_t value);  // parameters count from 1
  void bind(int parameter, double value);
  void bind(int parameter, std::string_view value);  // is not copied: must live until run()
  void bind_null(int parameter);

  bool step();  // whether there is a row
  void run();   // step to the end and reset
  void reset();

  bool is_null(int column) const;  // columns count from 0
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;

 private:
  SqliteDatabase& database_;
  sqlite3_stmt* handle_ = nullptr;
};

}  // namespace meshsim
