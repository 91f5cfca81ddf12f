#include "units/error.hpp"

#include <catch2/catch.hpp>

#include "tests/refusal.hpp"
#include "units/utf8.hpp"

using namespace meshsim;

TEST_CASE("the form of a message", "[error]") {
  CHECK(to_string({{"plan.yml", 3, 7}, "mesh.fsdp", "must be at least 1 (got 0)", "use -1"}) ==
        "plan.yml:3:7: error: mesh.fsdp: must be at least 1 (got 0)\n  hint: use -1");
  CHECK(to_string({{"plan.yml", 3, 0}, {}, "is bad", {}}) == "plan.yml:3: error: is bad");
  CHECK(to_string({{"plan.yml", 0, 0}, {}, "is bad", {}}) == "plan.yml: error: is bad");
  CHECK(to_string({{}, {}, "is bad", {}}) == "error: is bad");
}

TEST_CASE("a message cannot steer a terminal", "[error]") {
  CHECK(printable("\x1b[31mred\x1b[0m\a\x7f\n\t") == "\\x1b[31mred\\x1b[0m\\x07\\x7f\\x0a\\x09");
  CHECK(printable("\xC2\x9B"
                  "31m") == "\\xc2\\x9b31m");  // U+009B, a CSI in one character
  CHECK(printable("\x9B"
                  "31m") == "\\x9b31m");  // the same as a lone byte
  CHECK(printable("\xE2\x80\xAE"
                  "exe") == "\\xe2\\x80\\xaeexe");  // U+202E, right to left
  CHECK(printable("\xFF\xC3") == "\\xff\\xc3");
  CHECK(printable(std::string_view("a\0b", 3)) == "a\\x00b");
  CHECK(printable("Größe 大きさ 🧮") == "Größe 大きさ 🧮");

  const std::string nasty = "\x1b]0;title\a";
  const std::string message = to_string({{nasty, 1, 1}, nasty, nasty, nasty});
  CHECK(message.find('\x1b') == std::string::npos);
  CHECK(message.find('\a') == std::string::npos);
}

TEST_CASE("long values are cut between characters", "[error]") {
  CHECK(in_quotes("abc") == "'abc'");
  CHECK(in_quotes(std::string(60, 'a')) == "'" + std::string(60, 'a') + "'");
  CHECK(in_quotes(std::string(61, 'a')) == "'" + std::string(60, 'a') + "...'");
  // 59 letters and then characters of two bytes: the one that straddles byte 60 stays whole.
  CHECK(in_quotes(std::string(59, 'a') + "öööö") == "'" + std::string(59, 'a') + "ö...'");
}

TEST_CASE("twenty errors are shown, the rest is counted", "[error]") {
  const auto report = [](int count) {
    return refusal([&] {
      Diagnostics faults;
      for (int i = 0; i < count; ++i) faults.add({{}, {}, "fault", {}});
      faults.throw_if_any();
    });
  };
  CHECK(report(1).diagnostics().size() == 1);
  CHECK(report(20).diagnostics().size() == 20);
  CHECK(report(21).diagnostics().back().what == "1 more error is not shown");
  CHECK(report(50).diagnostics().size() == 21);
  CHECK(report(50).diagnostics().back().what == "30 more errors are not shown");
  CHECK(report(2).kind() == ErrorKind::invalid_input);
  CHECK(std::string(report(2).what()) == "error: fault\nerror: fault");
  CHECK_NOTHROW(Diagnostics().throw_if_any());
}

TEST_CASE("UTF-8 is told from what is not", "[utf8]") {
  const auto length = [](std::string_view text) { return utf8_length(text, 0); };
  CHECK(length("a") == 1);
  CHECK(length("\xC2\x80") == 2);          // U+0080, the first of two bytes
  CHECK(length("\xDF\xBF") == 2);          // U+07FF, the last
  CHECK(length("\xE0\xA0\x80") == 3);      // U+0800
  CHECK(length("\xED\x9F\xBF") == 3);      // U+D7FF, before the surrogates
  CHECK(length("\xEE\x80\x80") == 3);      // U+E000, after them
  CHECK(length("\xF0\x90\x80\x80") == 4);  // U+10000
  CHECK(length("\xF4\x8F\xBF\xBF") == 4);  // U+10FFFF

  CHECK(length("\x80") == 0);              // a continuation without a lead
  CHECK(length("\xC0\x80") == 0);          // NUL, overlong
  CHECK(length("\xC1\xBF") == 0);          // U+007F, overlong
  CHECK(length("\xE0\x9F\xBF") == 0);      // U+07FF, overlong
  CHECK(length("\xED\xA0\x80") == 0);      // U+D800, a surrogate
  CHECK(length("\xF0\x8F\xBF\xBF") == 0);  // U+FFFF, overlong
  CHECK(length("\xF4\x90\x80\x80") == 0);  // beyond U+10FFFF
  CHECK(length("\xF5\x80\x80\x80") == 0);
  CHECK(length("\xE2\x82") == 0);  // cut off
  CHECK(length("\xC3") == 0);
}
