// What a store keeps, and whom it refuses.
#include <catch2/catch.hpp>
#include <fstream>
#include <thread>

#include "studies/sweep/configuration.hpp"
#include "studies/sweep/store.hpp"
#include "tests/refusal.hpp"
#include "tests/studies/spaces.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

const StoreConfiguration ours{{"axes", "a"}, {"program", "0"}};

StoredPlan plan(std::int64_t index) {
  StoredPlan stored;
  stored.index = index;
  stored.judgement.plan_hash = "hash " + std::to_string(index);
  SweepOutcome& outcome = stored.judgement.outcome;
  outcome.verdict = SweepVerdict::fits;
  outcome.step_time = Picoseconds(1'000'000'000'000 + index);
  outcome.tokens_per_s_per_device = 1.0 / 3.0;  // has no short decimal
  outcome.mfu = 0.1;
  outcome.fit_probability = 0.7;
  outcome.peak = Bytes(std::int64_t{1} << 40);
  return stored;
}

StoredPlan refused(std::int64_t index) {
  StoredPlan stored;
  stored.index = index;
  stored.judgement.outcome.verdict = SweepVerdict::refused;
  stored.judgement.outcome.reason = "it's \"so\"; DROP TABLE plans";
  stored.judgement.outcome.cause = "refused: so";
  return stored;
}

bool same(const StoredPlan& a, const StoredPlan& b) {
  const SweepOutcome& x = a.judgement.outcome;
  const SweepOutcome& y = b.judgement.outcome;
  return a.index == b.index && a.judgement.plan_hash == b.judgement.plan_hash &&
         x.verdict == y.verdict && x.step_time == y.step_time &&
         x.tokens_per_s_per_device == y.tokens_per_s_per_device && x.mfu == y.mfu &&
         x.fit_probability == y.fit_probability && x.peak == y.peak &&
         x.peak_is_least == y.peak_is_least && x.reason == y.reason && x.cause == y.cause;
}

}  // namespace

TEST_CASE("what was put comes back, in the order of the plans", "[studies][store]") {
  const TemporaryFolder folder;
  const std::string path = folder.path("a ?store#.db");
  {
    SweepStore store(path, ours, true);  // missing: afresh
    CHECK(store.at_or_after(0) == nullptr);
    std::vector<StoredPlan> plans;
    for (std::int64_t i = 2999; i >= 1000; --i) plans.push_back(plan(i));
    store.put(plans);
    store.put(std::vector<StoredPlan>{refused(7)});
    store.finish();
  }
  SweepStore store(path, ours, true);
  CHECK(same(*store.at_or_after(0), refused(7)));
  CHECK(same(*store.at_or_after(7), refused(7)));
  for (std::int64_t i = 8; i < 3000; ++i)
    REQUIRE(same(*store.at_or_after(i), plan(std::max<std::int64_t>(i, 1000))));
  CHECK(store.at_or_after(3000) == nullptr);
}

TEST_CASE("what was put is committed though nothing follows", "[studies][store]") {
  const TemporaryFolder folder;
  const std::string path = folder.path("store");
  SweepStore store(path, ours, false);
  store.put(std::vector<StoredPlan>{plan(0)});
  std::this_thread::sleep_for(std::chrono::seconds(1));
  // As a killed run leaves it: the file and its log, without the locks.
  std::filesystem::copy_file(path, folder.path("copy"));
  std::filesystem::copy_file(path + "-wal", folder.path("copy-wal"));
  SweepStore copy(folder.path("copy"), ours, true);
  CHECK(same(*copy.at_or_after(0), plan(0)));
}

TEST_CASE("one run at a time has a store", "[studies][store]") {
  const TemporaryFolder folder;
  const SweepStore store(folder.path("store"), ours, false);
  const Error error = refusal([&] { const SweepStore other(folder.path("store"), ours, true); });
  CHECK(error.kind() == ErrorKind::io);
  CHECK(error.diagnostics().front().what.find("is locked") != std::string::npos);
}

TEST_CASE("a store of another sweep is refused with every difference", "[studies][store]") {
  const TemporaryFolder folder;
  const std::string path = folder.path("store");
  {
    SweepStore store(path, ours, false);
    store.put(std::vector<StoredPlan>{plan(0)});
    store.finish();
  }
  const StoreConfiguration other{{"axes", "b"}, {"program", "0"}, {"where", "x"}};
  const Error error = refusal([&] { const SweepStore store(path, other, true); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  const std::string text = error.what();
  CHECK(text.find("axes: 'a' there, 'b' now") != std::string::npos);
  CHECK(text.find("where: nothing there, 'x' now") != std::string::npos);
  CHECK(text.find("program") == std::string::npos);
  // Without --resume nothing is overwritten.
  CHECK(refusal([&] { const SweepStore store(path, ours, false); }).kind() ==
        ErrorKind::invalid_input);
  SweepStore still(path, ours, true);
  CHECK(same(*still.at_or_after(0), plan(0)));
}

TEST_CASE("an empty store starts afresh, whoever left it", "[studies][store]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("store", "");
  { const SweepStore store(path, ours, true); }
  { const SweepStore store(path, {{"axes", "b"}}, false); }
  CHECK(refusal([&] {
          SweepStore store(path, {{"axes", "b"}}, true);
          store.put(std::vector<StoredPlan>{plan(0)});
          store.finish();
          const SweepStore again(path, {{"axes", "b"}}, true);
        }).kind() == ErrorKind::io);  // it is still open
}

TEST_CASE("files that are no stores are left alone", "[studies][store]") {
  const TemporaryFolder folder;
  const std::string text = "these are my notes, not a database: " + std::string(2000, 'x');
  const std::string notes = folder.file("notes", text);
  CHECK(refusal([&] { const SweepStore store(notes, ours, true); }).kind() ==
        ErrorKind::invalid_input);
  std::ifstream after(notes);
  CHECK(std::string(std::istreambuf_iterator<char>(after), {}) == text);
  for (const std::string& path :
       {folder.path("missing/store"), folder.path("."), std::string("/dev/full")}) {
    INFO(path);
    CHECK(refusal([&] { const SweepStore store(path, ours, true); }).kind() == ErrorKind::io);
  }
}

TEST_CASE("a configuration holds all that rows depend on", "[studies][store]") {
  const char* const space = "axes: {compile_topology: [v5p-16, v5p-32]}\nwhere: chips > 4";
  const auto configuration = [](const SweepSpace& of, Fidelity fidelity = Fidelity::closed_form) {
    return store_configuration(of, fidelity, "program");
  };
  const StoreConfiguration base = configuration(llama_space(space));
  CHECK(configuration(llama_space(space)) == base);
  CHECK(configuration(llama_space(space), Fidelity::event) != base);
  CHECK(configuration(llama_space("axes: {compile_topology: [v5p-16]}\nwhere: chips > 4")) != base);
  CHECK(configuration(llama_space("axes: {compile_topology: [v5p-16, v5p-32]}")) != base);
  CHECK(configuration(space_of("base: {model_name: llama3.1-8b, per_device_batch_size: 2, "
                               "attention: dot_product}\n" +
                               std::string(space)))
            .at("base.per_device_batch_size") == "2");
}
