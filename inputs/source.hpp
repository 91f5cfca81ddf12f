// The text of an input file, read with suspicion.
#pragma once

#include <string>
#include <string_view>

namespace meshsim {

inline constexpr std::size_t max_file_bytes = std::size_t{16} << 20;

struct Source {
  std::string name;  // as errors call it: a path, "<stdin>", "<command line>"
  std::string text;
};

// Reads a regular file, or standard input for "-". Throws Error: io if it cannot be opened or read;
// invalid_input if it is a directory, a device or a FIFO, or larger than max_file_bytes.
Source read_source(const std::string& path);

// Throws Error(invalid_input) with line and column if the text has a byte-order mark, CR line ends,
// NUL, another control character, or bytes that are not UTF-8.
void check_text(const Source& source);

// A name that will become part of a path or a key: letters, digits and . _ - + only, at most 100
// characters, no leading dot or dash. Throws Error(invalid_input) that calls it `what`.
void check_name(std::string_view name, std::string_view what);

}  // namespace meshsim
