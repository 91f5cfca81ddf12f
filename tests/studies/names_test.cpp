// No number hangs on a name: models, rows and families are labels.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "sim/evaluator.hpp"
#include "studies/calibrate.hpp"
#include "studies/validate.hpp"

using namespace meshsim;

TEST_CASE("a model under another name is the same model", "[names]") {
  int compared = 0;
  for (const PublishedRun& run : parse_published_runs(published_runs_file()).runs) {
    INFO(run.id);
    if (!run.not_modelled.empty()) continue;
    Plan plan;
    try {
      plan = make_plan(run.request);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::invalid_input);  // refused under any name
      continue;
    }
    Evaluator evaluator;
    const Answer before = evaluator.evaluate(plan);
    plan.model.name = plan.config.model.name = "zz-nobody-knows-it";
    CHECK(Evaluator().evaluate(plan) == before);
    ++compared;
  }
  CHECK(compared > 20);
}

TEST_CASE("rows, families and models under other names fit the same constants", "[names]") {
  PublishedRuns runs = parse_published_runs(published_runs_file());
  std::erase_if(runs.runs, [](const PublishedRun& run) {
    return run.kind != "train_step" || run.family != "dense";
  });
  REQUIRE(runs.runs.size() >= 3);
  const CalibrationFit before = calibrate(runs, *builtin_calibration());
  for (std::size_t i = 0; i < runs.runs.size(); ++i) {
    PublishedRun& run = runs.runs[i];
    run.id = fmt::format("z{}", 100 - i);
    run.model = "another " + run.model;
    run.family = "another " + run.family;
    run.ablation.clear();
  }
  const CalibrationFit after = calibrate(runs, *builtin_calibration());
  REQUIRE(after.rows.size() == before.rows.size());
  for (std::size_t i = 0; i < after.rows.size(); ++i) {
    CHECK(after.rows[i].predicted_s == before.rows[i].predicted_s);
    CHECK(after.rows[i].model_left_out == before.rows[i].model_left_out);
  }
  for (std::size_t c = 0; c < after.calibration.constants.size(); ++c) {
    CHECK(after.calibration.constants[c].value == before.calibration.constants[c].value);
    CHECK(after.calibration.constants[c].low == before.calibration.constants[c].low);
  }
}
