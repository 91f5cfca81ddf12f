#include "reports/output.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

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

namespace {

// Calls `give` with each part of the file behind `fd`, from its beginning.
void read_back(int fd, const std::string& path, const std::function<int(std::string_view)>& give) {
  constexpr std::size_t part = std::size_t{1} << 20;
  std::string bytes(part, '\0');
  if (::lseek(fd, 0, SEEK_SET) != 0) fail(path, "cannot be read back", errno);
  while (true) {
    const ssize_t got = ::read(fd, bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, "cannot be read back", errno);
    if (got == 0) return;
    const int error = give(std::string_view(bytes).substr(0, static_cast<std::size_t>(got)));
    if (error == EPIPE) return;  // the reader has gone away
    if (error != 0) fail(path, "cannot be written", error);
  }
}

std::string temporary_folder() {
  const char* const stated = std::getenv("TMPDIR");
  return stated != nullptr && *stated != '\0' ? stated : "/tmp";
}

}  // namespace

LongOutput::LongOutput(std::string path) : path_(std::move(path)) {
  struct stat status {};
  const bool exists = !path_.empty() && ::stat(path_.c_str(), &status) == 0;
  in_place_ = exists && !S_ISREG(status.st_mode);
  const bool anonymous = path_.empty() || in_place_;
  if (exists && !in_place_) {
    std::error_code ignored;
    const auto target = std::filesystem::canonical(path_, ignored);
    if (!target.empty()) path_ = target.string();
  }
  temporary_ = (anonymous ? temporary_folder() + "/meshsim" : path_) + ".XXXXXX";
  fd_ = ::mkostemp(temporary_.data(), O_CLOEXEC);
  if (fd_ < 0) fail(anonymous ? temporary_folder() : path_, "cannot be written", errno);
  if (anonymous) {
    ::unlink(temporary_.c_str());
    temporary_.clear();
  }
}

LongOutput::~LongOutput() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void LongOutput::flush() {
  const int error = write_all(fd_, buffer_);
  buffer_.clear();
  if (error != 0) fail(path_.empty() ? temporary_folder() : path_, "cannot be written", error);
}

void LongOutput::write(std::string_view text) {
  constexpr std::size_t enough = std::size_t{1} << 18;
  buffer_ += text;
  if (buffer_.size() >= enough) flush();
}

void LongOutput::finish() {
  flush();
  if (path_.empty()) {
    read_back(fd_, "<stdout>",
              [](std::string_view part) { return write_all(STDOUT_FILENO, part); });
    return;
  }
  if (in_place_) {
    const int target = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (target < 0) fail(path_, "cannot be opened for writing", errno);
    try {
      read_back(fd_, path_, [&](std::string_view part) { return write_all(target, part); });
    } catch (const Error&) {
      ::close(target);
      throw;
    }
    if (::close(target) != 0) fail(path_, "cannot be written", errno);
    return;
  }
  int error = ::fchmod(fd_, default_mode()) == 0 ? 0 : errno;
  if (error == 0 && ::fsync(fd_) != 0) error = errno;
  if (::close(std::exchange(fd_, -1)) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(temporary_.c_str(), path_.c_str()) != 0) error = errno;
  if (error != 0) fail(path_, "cannot be written", error);
  temporary_.clear();
}

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
