#include "inputs/source.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "inputs/data_source.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using Catch::Contains;

namespace {

// A directory of its own for a test, removed afterwards.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "meshsim-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
    path_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string written(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

Diagnostic fault_in(const std::string& text) {
  return refusal([&] { check_text({"f.yml", text}); }).diagnostics().front();
}

}  // namespace

TEST_CASE("a regular file is read byte by byte", "[source]") {
  const Scratch scratch;
  const std::string text("a: 1\r\n\0\xFF", 8);
  const std::string path = written(scratch / "f.yml", text);
  CHECK(read_source(path).text == text);
  CHECK(read_source(path).name == path);
  CHECK(read_source(written(scratch / "empty", "")).text.empty());
}

TEST_CASE("what cannot be read is an I/O error", "[source]") {
  const Scratch scratch;
  const Error missing = refusal([&] { read_source(scratch / "missing.yml"); });
  CHECK(missing.kind() == ErrorKind::io);
  CHECK_THAT(missing.what(), Contains("missing.yml: error: cannot be read: No such file"));
  CHECK(refusal([&] { read_source(""); }).kind() == ErrorKind::io);
  const std::string file = written(scratch / "file", "");
  CHECK(refusal([&] { read_source(file + "/below"); }).kind() == ErrorKind::io);
}

TEST_CASE("what is no regular file is refused at once", "[source]") {
  const Scratch scratch;
  const auto refused = [](const std::string& path, const std::string& what) {
    const Error error = refusal([&] { read_source(path); });
    CHECK(error.kind() == ErrorKind::invalid_input);
    CHECK_THAT(error.what(), Contains(what));
  };
  refused(scratch / "", "is a directory");
  refused("/dev/zero", "is not a regular file");
  refused("/dev/null", "is not a regular file");
  const std::string fifo = scratch / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  refused(fifo, "is not a regular file");  // without waiting for a writer
  const std::string link = scratch / "link";
  std::filesystem::create_symlink("/dev/zero", link);
  refused(link, "is not a regular file");
}

TEST_CASE("a file may be as large as the cap, and not a byte larger", "[source]") {
  const Scratch scratch;
  const std::string path = written(scratch / "large", std::string(max_file_bytes, ' '));
  CHECK(read_source(path).text.size() == max_file_bytes);
  std::filesystem::resize_file(path, max_file_bytes + 1);
  CHECK(refusal([&] { read_source(path); }).kind() == ErrorKind::invalid_input);
  CHECK(read_data(path).text.size() == max_file_bytes + 1);     // data may be longer
  std::filesystem::resize_file(path, std::uintmax_t{1} << 40);  // sparse
  CHECK_THAT(refusal([&] { read_source(path); }).what(), Contains("is larger than 16 MiB"));
}

TEST_CASE("standard input is read like a file, with the same cap", "[source]") {
  const Scratch scratch;
  const int original = ::dup(STDIN_FILENO);
  const auto from = [&](const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY);
    REQUIRE(fd >= 0);
    ::dup2(fd, STDIN_FILENO);
    ::close(fd);
  };
  from(written(scratch / "f", "a: 1\n"));
  const Source source = read_source("-");
  from("/dev/zero");
  const Error endless = refusal([] { read_source("-"); });
  ::close(STDIN_FILENO);
  const Error closed = refusal([] { read_source("-"); });
  if (original >= 0) {
    ::dup2(original, STDIN_FILENO);
    ::close(original);
  }
  CHECK(source.text == "a: 1\n");
  CHECK(source.name == "<stdin>");
  CHECK(endless.kind() == ErrorKind::invalid_input);
  CHECK_THAT(endless.what(), Contains("<stdin>: error: is larger than"));
  CHECK(closed.kind() == ErrorKind::io);
}

TEST_CASE("text is UTF-8 with LF line ends", "[source]") {
  CHECK_NOTHROW(check_text({"f.yml", ""}));
  CHECK_NOTHROW(check_text({"f.yml", "größe: 1\n\t# ok: 大きさ 🧮\n"}));

  CHECK_THAT(fault_in("\xEF\xBB\xBF"
                      "a: 1\n")
                 .what,
             Contains("byte-order mark"));
  CHECK_THAT(fault_in("\xFF\xFE"
                      "a")
                 .what,
             Contains("0xff is not valid UTF-8"));
  CHECK_THAT(fault_in("a: 1\r\nb: 2\r\n").what, Contains("CRLF"));
  CHECK_THAT(fault_in(std::string("a: \0", 4)).what, Contains("NUL"));
  CHECK_THAT(fault_in("a: \x1b[31m").what, Contains("control character 0x1b"));
  CHECK_THAT(fault_in("a: \xC0\xAF").what, Contains("0xc0 is not valid UTF-8"));      // overlong
  CHECK_THAT(fault_in("a: \xED\xA0\x80").what, Contains("0xed is not valid UTF-8"));  // surrogate
  CHECK_THAT(fault_in("a: \xE2\x82").what, Contains("0xe2 is not valid UTF-8"));      // cut off
  CHECK_FALSE(fault_in("a: \xFF").hint.empty());
}

TEST_CASE("a fault in a text has a line and a column", "[source]") {
  const Diagnostic fault = fault_in("a: 1\nb: 2\ncd: \xFF\n");
  CHECK(fault.where.file == "f.yml");
  CHECK(fault.where.line == 3);
  CHECK(fault.where.column == 5);
  CHECK(fault_in("a\r\n").where.column == 2);
}

TEST_CASE("names that may become part of a path", "[source]") {
  CHECK_NOTHROW(check_name("deepseek_v4-flash.1+x", "a model name"));
  CHECK_NOTHROW(check_name(std::string(100, 'a'), "a model name"));
  const auto name = GENERATE(as<std::string>{}, "", ".", "..", "../../x", "/etc/passwd", "a/b",
                             "a\\b", "-rf", ".hidden", "a b", "a\nb", "größe", "a;b", "$(x)", "*",
                             std::string("a\0b", 3), std::string(101, 'a'), std::string(300, 'a'));
  CAPTURE(name);
  CHECK(refusal([&] { check_name(name, "a model name"); }).kind() == ErrorKind::invalid_input);
}

TEST_CASE("a refused name is shown cut short and without escapes", "[source]") {
  const Error error =
      refusal([] { check_name("\x1b]0;" + std::string(300, 'a'), "a model name"); });
  CHECK_THAT(error.what(), Contains("'\\x1b]0;aaa"));
  CHECK(std::string(error.what()).size() < 300);
}
