// Writing a finished report where the user wants it, whole or not at all.
#pragma once

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

}  // namespace meshsim
