// Writing a finished report where the user wants it, whole or not at all.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace meshsim {

// Replaces the regular file `path` atomically: a temporary file beside it is written, flushed to
// disk, closed and renamed; on any failure the old file stays as it was. A target that exists and
// is no regular file
// (/dev/full, a pipe) is written in place. Throws Error(io).
void write_file(const std::string& path, std::string_view text);

// Writes to standard output. Returns quietly when the reader has gone away; throws Error(io) on any
// other failure, a full disk behind a redirection among them.
void write_stdout(std::string_view text);

// A report too large to be held: written part by part into a temporary file, which becomes `path`
// (empty: is copied to standard output) when it is finished. Until then, and on any failure,
// nothing has changed and nothing was printed.
class LongOutput {
 public:
  explicit LongOutput(std::string path);
  ~LongOutput();
  LongOutput(const LongOutput&) = delete;
  LongOutput& operator=(const LongOutput&) = delete;

  void write(std::string_view text);  // throws Error(io)
  void finish();                      // throws Error(io)

 private:
  void flush();

  std::string path_;       // "": standard output
  std::string temporary_;  // "": has no name any more
  bool in_place_ = false;  // what is there is no regular file: it is written to in the end
  int fd_ = -1;
  std::string buffer_;
};

}  // namespace meshsim
