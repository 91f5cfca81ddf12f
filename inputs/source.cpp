#include "inputs/source.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "inputs/data_source.hpp"
#include "units/error.hpp"
#include "units/utf8.hpp"

namespace meshsim {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd, bool owned) : fd_(fd), owned_(owned) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (owned_ && fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
  bool owned_;
};

[[noreturn]] void cannot_read(const std::string& name, int error) {
  throw Error(ErrorKind::io,
              Diagnostic{{name}, {}, fmt::format("cannot be read: {}", std::strerror(error)), {}});
}

[[noreturn]] void refuse(const std::string& name, const std::string& what,
                         const std::string& hint) {
  throw Error(ErrorKind::invalid_input, Diagnostic{{name}, {}, what, hint});
}

// At most `most` bytes; `hint` for more.
Source read_file(const std::string& path, std::size_t most, const std::string& hint) {
  const bool from_stdin = path == "-";
  Source source{from_stdin ? "<stdin>" : path, {}};
  // O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below.
  const FileDescriptor file(
      from_stdin ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK),
      !from_stdin);
  if (file.get() < 0) cannot_read(source.name, errno);

  struct stat status {};
  if (::fstat(file.get(), &status) != 0) cannot_read(source.name, errno);
  if (!from_stdin && !S_ISREG(status.st_mode)) {
    refuse(source.name,
           S_ISDIR(status.st_mode) ? "is a directory, not a file" : "is not a regular file",
           "give a regular file, or - for standard input");
  }
  std::array<char, 65536> buffer{};
  while (true) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) cannot_read(source.name, errno);
    if (got == 0) return source;
    source.text.append(buffer.data(), static_cast<std::size_t>(got));
    if (source.text.size() > most)
      refuse(source.name, fmt::format("is larger than {} MiB", most >> 20U), hint);
  }
}

}  // namespace

Source read_source(const std::string& path) {
  return read_file(path, max_file_bytes, "an input of meshsim is a configuration, not data");
}

Source read_data(const std::string& path) { return read_file(path, max_data_bytes, {}); }

void check_text(const Source& source) {
  const std::string_view text = source.text;
  int line = 1;
  std::size_t line_start = 0;
  const auto fail = [&](std::size_t at, const std::string& what, const std::string& hint) {
    const int column = static_cast<int>(at - line_start) + 1;
    throw Error(ErrorKind::invalid_input, Diagnostic{{source.name, line, column}, {}, what, hint});
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const std::size_t length = utf8_length(text, at);
    if (length == 0)
      fail(at, fmt::format("byte 0x{:02x} is not valid UTF-8", byte), "save the file as UTF-8");
    if (at == 0 && text.substr(0, 3) == "\xEF\xBB\xBF") {
      fail(at, "starts with a byte-order mark", "save the file as UTF-8 without BOM");
    }
    if (byte == 0) fail(at, "contains a NUL character", "is this a text file?");
    if (byte == '\r')
      fail(at, "has carriage returns (CRLF line ends)", "convert with: sed -i 's/\\r$//' FILE");
    if (byte < 0x20 && byte != '\n' && byte != '\t') {
      fail(at, fmt::format("contains the control character 0x{:02x}", byte),
           "is this a text file?");
    }
    at += length;
    if (byte == '\n') {
      ++line;
      line_start = at;
    }
  }
}

void check_name(std::string_view name, std::string_view what) {
  constexpr std::size_t longest = 100;
  constexpr std::string_view allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+";
  const bool fine = !name.empty() && name.size() <= longest && name.front() != '.' &&
                    name.front() != '-' &&
                    name.find_first_not_of(allowed) == std::string_view::npos;
  if (fine) return;
  throw Error(
      ErrorKind::invalid_input, fmt::format("{} is not {}", in_quotes(name), what),
      fmt::format("a name has letters, digits and . _ - + only, at most {} of them", longest));
}

}  // namespace meshsim
