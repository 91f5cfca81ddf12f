#include "plans/config_files.hpp"

#include <catch2/catch.hpp>

#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

using namespace meshsim;
using namespace meshsim::testing;
using Catch::Contains;

TEST_CASE("a chain of base_config is read beside the file that names it", "[plans][files]") {
  const TemporaryFolder folder;
  folder.file("common/hardware.yml", "steps: 1\n");
  folder.file("common/base_run.yml", "base_config: hardware.yml\nsteps: 2\n");
  const ConfigFiles files =
      read_config_files(folder.file("mine/plan.yml", "base_config: ../common/base_run.yml\n"));
  REQUIRE(files.files.size() == 3);
  CHECK(files.files[0].find("steps")->text == "1");  // the most basic one first
  CHECK(files.files[1].find("steps")->text == "2");
  CHECK(files.files[2].find("base_config") != nullptr);
  CHECK(files.notes.empty());
}

TEST_CASE("a missing base.yml stands for the defaults, and says so", "[plans][files]") {
  const TemporaryFolder folder;
  const ConfigFiles missing = read_config_files(folder.path("src/configs/base.yml"));
  CHECK(missing.files.empty());
  REQUIRE(missing.notes.size() == 1);
  CHECK_THAT(missing.notes.front(),
             Contains("base.yml was not found: MaxText's built-in defaults"));

  const ConfigFiles chained =
      read_config_files(folder.file("plan.yml", "base_config: base.yml\nsteps: 1\n"));
  CHECK(chained.files.size() == 1);
  CHECK(chained.notes.size() == 1);

  folder.file("base.yml", "steps: 3\n");
  const ConfigFiles found = read_config_files(folder.path("plan.yml"));
  CHECK(found.files.size() == 2);
  CHECK(found.notes.empty());
}

TEST_CASE("files that include each other are refused with the chain", "[plans][files]") {
  const TemporaryFolder folder;
  const std::string a = folder.file("a.yml", "steps: 1\nbase_config: b.yml\n");
  const std::string b = folder.file("b.yml", "base_config: a.yml\n");
  const Error error = refusal([&] { read_config_files(a); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  CHECK(std::string(error.what()) ==
        b + ":1:14: error: base_config: the files include each other\n  hint: the chain is " + a +
            " -> " + b + " -> " + a);

  const std::string self = folder.file("self.yml", "base_config: ./self.yml\n");
  CHECK_THAT(refusal([&] { read_config_files(self); }).what(),
             Contains("the chain is " + self + " -> " + self));
}

TEST_CASE("a base_config that cannot be resolved is refused with the chain", "[plans][files]") {
  const TemporaryFolder folder;
  const std::string b = folder.file("b.yml", "# below\nbase_config: nowhere.yml\n");
  const std::string a = folder.file("a.yml", "base_config: b.yml\n");
  const Error error = refusal([&] { read_config_files(a); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  CHECK(std::string(error.what()) ==
        b + ":2:14: error: base_config: " + folder.path("nowhere.yml") +
            " cannot be read\n  hint: the chain is " + a + " -> " + b + " -> " +
            folder.path("nowhere.yml"));
}

TEST_CASE("a first file that cannot be read is an I/O error", "[plans][files]") {
  const TemporaryFolder folder;
  CHECK(refusal([&] { read_config_files(folder.path("plan.yml")); }).kind() == ErrorKind::io);
}

TEST_CASE("a plan file is a mapping, or empty", "[plans][files]") {
  const TemporaryFolder folder;
  CHECK(read_config_files(folder.file("empty.yml", "# nothing yet\n")).files.size() == 1);
  CHECK_THAT(refusal([&] { read_config_files(folder.file("list.yml", "- 1\n")); }).what(),
             Contains("a plan file is a mapping of keys (got a list)"));
  CHECK_THAT(refusal([&] { read_config_files(folder.file("l.yml", "base_config: [a]\n")); }).what(),
             Contains("base_config: must be the path of a file (got a list)"));
}
