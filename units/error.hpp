// One error type for the whole project.
//
// Libraries throw Error; only cli/ prints it and turns its kind into an exit code. An Error holds
// every fault found in one pass over one input, so that a user mends a file once.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace meshsim {

// What went wrong, as the command line's exit codes tell it apart.
enum class ErrorKind {
  internal,        // 1: our bug
  usage,           // 2: unknown option, missing argument
  invalid_input,   // 5: a refused key or value, a malformed file
  io,              // 6: a file that cannot be read or written
  resource_limit,  // 7: a cap of ours, or memory
};

// A place in a text. Lines and columns count from 1; 0 means "not known".
struct Location {
  std::string file;
  int line = 0;
  int column = 0;
};

// One fault: where, under which key, what was found and what was expected.
struct Diagnostic {
  Location where;
  std::string key;   // dotted path, may be empty
  std::string what;  // "must be at least 1 (got 0)"
  std::string hint;  // what to do about it, may be empty
};

// "file:line:col: error: key.path: what", and a second line "  hint: ..." where there is one.
std::string to_string(const Diagnostic& diagnostic);

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::vector<Diagnostic> diagnostics);
  Error(ErrorKind kind, Diagnostic diagnostic);
  // A fault that has no place in a file.
  Error(ErrorKind kind, std::string what, std::string hint = {});

  ErrorKind kind() const { return kind_; }
  const std::vector<Diagnostic>& diagnostics() const { return diagnostics_; }

 private:
  ErrorKind kind_;
  std::vector<Diagnostic> diagnostics_;
};

// Collects the faults of one input; at most `cap` are kept, the rest are counted.
class Diagnostics {
 public:
  static constexpr std::size_t cap = 20;

  void add(Diagnostic diagnostic);
  bool empty() const { return kept_.empty(); }
  // Throws Error(invalid_input) with everything collected, unless there is nothing.
  void throw_if_any() const;

 private:
  std::vector<Diagnostic> kept_;
  std::size_t dropped_ = 0;
};

// `text` safe on a terminal: control characters (ESC above all, and the C1 range), characters that
// reverse the direction of writing, and bytes that are not UTF-8 are written as \xNN.
std::string printable(std::string_view text);

// `text` in single quotes, cut short when it is long: a value inside a message.
std::string in_quotes(std::string_view text);

}  // namespace meshsim
