#include "reports/output.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "units/error.hpp"

namespace meshsim {
namespace {

[[noreturn]] void fail(const std::string& path, std::string_view what, int error) {
  throw Error(ErrorKind::io,
              Diagnostic{{path}, {}, fmt::format("{}: {}", what, std::strerror(error)), {}});
}

// 0, or the errno of the write that failed.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

void write_in_place(const std::string& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) fail(path, "cannot be opened for writing", errno);
  const int error = write_all(fd, text);
  const int close_error = ::close(fd) == 0 ? 0 : errno;
  if (error != 0 || close_error != 0)
    fail(path, "cannot be written", error != 0 ? error : close_error);
}

// The permissions that a plain open() would have given.
mode_t default_mode() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

void replace(const std::string& path, std::string_view text) {
  std::string temporary = path + ".XXXXXX";
  const int fd = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) fail(path, "cannot be written", errno);
  int error = write_all(fd, text);
  if (error == 0 && ::fchmod(fd, default_mode()) != 0) error = errno;
  if (error == 0 && ::fsync(fd) != 0) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return;
  ::unlink(temporary.c_str());
  fail(path, "cannot be written", error);
}

}  // namespace

void write_file(const std::string& path, std::string_view text) {
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (exists && !S_ISREG(status.st_mode)) {
    write_in_place(path, text);
    return;
  }
  // A link is kept: what it points to is replaced.
  std::error_code ignored;
  const auto target =
      exists ? std::filesystem::canonical(path, ignored) : std::filesystem::path(path);
  replace(target.empty() ? path : target.string(), text);
}

void write_stdout(std::string_view text) {
  const int error = write_all(STDOUT_FILENO, text);
  if (error == 0 || error == EPIPE) return;
  fail("<stdout>", "cannot be written", error);
}

}  // namespace meshsim
