#include "studies/calibrate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "cost_models/machine.hpp"
#include "sim/closed_form.hpp"
#include "sim/evaluation.hpp"
#include "studies/robust_fit.hpp"

namespace meshsim {
namespace {

constexpr double published_completely = 0.02;  // standard error of a measured time and its model
constexpr double partly_inferred = 0.06;
constexpr double eighty_percent = 1.2816;  // standard deviations on either side of the mean
constexpr double noticed = 0.02;  // change of ln t per change of ln c from which a row tells of c

// A run as a program that can be priced again.
struct Priceable {
  const PublishedRun* run = nullptr;
  std::unique_ptr<Plan> plan;
  StepProgram program;

  double seconds_with(const std::shared_ptr<const Calibration>& calibration) const {
    plan->config.calibration = calibration;
    return seconds(closed_form(program, machine_of(*plan)).total);
  }
};

std::string fault_of(const Error& error) {
  const Diagnostic& fault = error.diagnostics().front();
  return fault.key.empty() ? fault.what : fault.key + ": " + fault.what;
}

// XLA's sum of arguments, outputs and temp against the published one.
void add_peak_residual(const PublishedRun& run, const Evaluation& evaluation, CalibrationFit& fit) {
  const std::optional<double> measured =
      run.measured.total_gib ? run.measured.total_gib : run.measured.oom_needed_gib;
  if (!measured || !evaluation.step) return;
  const double error = evaluation.xla_total() / gib / *measured - 1;
  fit.calibration.peak.push_back(
      {run.id, run.family, error, error, error});  // nothing of it is fitted
}

std::vector<Priceable> priceable(const PublishedRuns& runs, CalibrationFit& fit) {
  std::vector<Priceable> all;
  for (const PublishedRun& run : runs.runs) {
    try {
      if (!run.not_modelled.empty()) {
        fit.skipped.emplace_back(run.id, run.not_modelled);
        continue;
      }
      Priceable one;
      one.run = &run;
      one.plan = std::make_unique<Plan>(make_plan(run.request));
      Evaluation evaluation = evaluate(*one.plan, Fidelity::closed_form);
      add_peak_residual(run, evaluation, fit);
      if (!run.measured.step_time_s) continue;
      if (!evaluation.step) {
        fit.skipped.emplace_back(run.id, evaluation.not_modelled.front());
        continue;
      }
      one.program = std::move(evaluation.step->program);
      all.push_back(std::move(one));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::invalid_input) throw;
      fit.skipped.emplace_back(run.id, fault_of(error));
    }
  }
  return all;
}

// The fit of all runs, and the parts of it that leave some out.
class Calibrator {
 public:
  Calibrator(std::vector<Priceable> runs, const Calibration& priors)
      : runs_(std::move(runs)), priors_(priors) {
    for (std::size_t c = 0; c < priors_.constants.size(); ++c) {
      const CalibrationConstant& one = priors_.constants[c];
      if (!one.prior) continue;
      fitted_.push_back(c);
      problem_.prior.push_back(std::log(one.prior->value));
      problem_.prior_sigma.push_back(one.prior->log_sigma);
      // A share may come near 1, but the derivative there needs room beyond it.
      problem_.most.push_back(one.unit == "share" ? 0 : std::numeric_limits<double>::infinity());
    }
    for (const Priceable& one : runs_) {
      problem_.measured.push_back(std::log(*one.run->measured.step_time_s));
      problem_.sigma.push_back(one.run->quality == "inferred" ? partly_inferred
                                                              : published_completely);
    }
    problem_.model = [this](const Vector& x) { return log_times(x); };
  }

  void run(CalibrationFit& result) {
    const Fit all = robust_fit(problem_, problem_.prior, std::vector<bool>(runs_.size(), true));
    result.iterations = all.iterations;
    result.calibration.constants = constants(all);
    const Vector fitted = log_times(all.x);
    const Vector by_family = left_out(all, &PublishedRun::family);
    const Vector by_model = left_out(all, &PublishedRun::model);
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      const PublishedRun& run = *runs_[i].run;
      FittedRow row{run.id, run.family, run.model, run.kind, run.quality};
      row.measured_s = *run.measured.step_time_s;
      row.predicted_s = std::exp(fitted[i]);
      row.weight = all.weights[i];
      row.error = std::expm1(fitted[i] - problem_.measured[i]);
      row.family_left_out = std::expm1(by_family[i] - problem_.measured[i]);
      row.model_left_out = std::expm1(by_model[i] - problem_.measured[i]);
      result.calibration.step_time.push_back(
          {run.id, run.family, row.error, row.family_left_out, row.model_left_out});
      result.rows.push_back(std::move(row));
    }
  }

 private:
  std::shared_ptr<const Calibration> calibration(const Vector& x) const {
    auto made = std::make_shared<Calibration>(priors_);
    for (std::size_t p = 0; p < x.size(); ++p) {
      made->constants[fitted_[p]].value = std::exp(x[p]);
    }
    return made;
  }

  Vector log_times(const Vector& x) const {
    const std::shared_ptr<const Calibration> made = calibration(x);
    Vector times;
    for (const Priceable& one : runs_) times.push_back(std::log(one.seconds_with(made)));
    return times;
  }

  std::vector<CalibrationConstant> constants(const Fit& fit) const {
    std::vector<CalibrationConstant> all = calibration(fit.x)->constants;
    for (std::size_t p = 0; p < fitted_.size(); ++p) {
      CalibrationConstant& one = all[fitted_[p]];
      const double spread = eighty_percent * std::sqrt(fit.covariance[p][p]);
      one.low = one.value * std::exp(-spread);
      one.high = one.value * std::exp(spread);
      if (one.unit == "share") one.high = std::max(one.value, std::min(1.0, one.high));
      one.fitted_rows.clear();
      one.residual_ratio.reset();
      double squares = 0;
      const Vector times = log_times(fit.x);
      for (std::size_t i = 0; i < runs_.size(); ++i) {
        if (std::abs(fit.jacobian[i][p]) < noticed) continue;
        one.fitted_rows.push_back(runs_[i].run->id);
        const double error = std::expm1(times[i] - problem_.measured[i]);
        squares += error * error;
      }
      if (!one.fitted_rows.empty())
        one.residual_ratio = std::sqrt(squares / static_cast<double>(one.fitted_rows.size()));
    }
    return all;
  }

  // For every run the logarithm of its time, fitted without the runs that share its `label`.
  Vector left_out(const Fit& all, std::string PublishedRun::*label) const {
    constexpr int iterations = 3;  // from the fit of all, which is near
    Vector times(runs_.size());
    std::vector<bool> done(runs_.size(), false);
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      if (done[i]) continue;
      std::vector<bool> used(runs_.size(), true);
      for (std::size_t k = 0; k < runs_.size(); ++k)
        used[k] = runs_[k].run->*label != runs_[i].run->*label;
      const Vector without = log_times(robust_fit(problem_, all.x, used, iterations).x);
      for (std::size_t k = 0; k < runs_.size(); ++k) {
        if (used[k]) continue;
        times[k] = without[k];
        done[k] = true;
      }
    }
    return times;
  }

  std::vector<Priceable> runs_;
  const Calibration& priors_;
  std::vector<std::size_t> fitted_;  // constants that have a prior
  FitProblem problem_;
};

}  // namespace

CalibrationFit calibrate(const PublishedRuns& runs, const Calibration& priors) {
  CalibrationFit fit;
  fit.runs_name = runs.name;
  fit.runs_text = runs.text;
  std::vector<Priceable> usable = priceable(runs, fit);
  if (usable.empty()) {
    throw Error(ErrorKind::invalid_input,
                Diagnostic{{runs.name},
                           "rows",
                           "hold no training step that can be predicted and "
                           "has a measured step_time_s",
                           {}});
  }
  Calibrator(std::move(usable), priors).run(fit);
  return fit;
}

}  // namespace meshsim
