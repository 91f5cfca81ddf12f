#include <fmt/format.h>

#include <optional>
#include <string>
#include <unordered_map>

#include "plans/config_hash.hpp"
#include "studies/sweep/plan_variants.hpp"
#include "studies/sweep/sweep.hpp"
#include "topologies/prediction_interval.hpp"
#include "units/error.hpp"
#include "units/print.hpp"

namespace meshsim {
namespace {

// "uneven-parameter" of "... [uneven-parameter]", else the key, else the text: few classes,
// whatever numbers the reasons hold.
std::string class_of(const Diagnostic& fault) {
  const std::size_t open = fault.what.rfind('[');
  if (open != std::string::npos && fault.what.ends_with("]"))
    return fault.what.substr(open + 1, fault.what.size() - open - 2);
  return fault.key.empty() ? fault.what : fault.key;
}

SweepOutcome without_figures(SweepVerdict verdict, const std::string& prefix, const Error& error) {
  SweepOutcome outcome;
  outcome.verdict = verdict;
  const Diagnostic& first = error.diagnostics().front();
  outcome.reason = first.key.empty() ? first.what : first.key + ": " + first.what;
  outcome.cause = prefix + class_of(first);
  return outcome;
}

// From how far published peaks lay off; without such, what the comparison says.
double fit_probability(const Answer& answer, const Calibration& calibration) {
  return probability_below(static_cast<double>(answer.hbm_usable.value()),
                           static_cast<double>(answer.peak().value()), calibration.peak)
      .value_or(answer.peak() <= answer.hbm_usable ? 1 : 0);
}

SweepOutcome outcome_of(const Answer& answer, const Calibration& calibration) {
  SweepOutcome outcome;
  outcome.peak = answer.peak();
  switch (answer.verdict) {
    case Verdict::fits: outcome.verdict = SweepVerdict::fits; break;
    case Verdict::does_not_fit:
      outcome.verdict = SweepVerdict::does_not_fit;
      outcome.reason =
          fmt::format("{} {} of {} HBM", answer.timed ? "needs" : "state and batch alone need",
                      in_gib(answer.peak()), in_gib(answer.hbm_usable));
      outcome.cause = answer.timed ? "does not fit" : "does not fit: state and batch alone";
      break;
    case Verdict::inconclusive:
      outcome.verdict = SweepVerdict::inconclusive;
      outcome.reason = "the step is not modelled: see meshsim simulate";
      outcome.cause = "inconclusive: the step is not modelled";
      break;
  }
  if (!answer.timed) {
    outcome.peak_is_least = true;
    return outcome;
  }
  outcome.step_time = answer.step_time;
  outcome.tokens_per_s_per_device = answer.tokens_per_s_per_device;
  outcome.mfu = answer.mfu;
  outcome.fit_probability = fit_probability(answer, calibration);
  return outcome;
}

class Simulating : public PlanJudge {
 public:
  Simulating(const SweepSpace& space, Fidelity fidelity)
      : plans_(space.base),
        evaluator_(fidelity, Pruning::by_arguments),
        base_words_(ConfigHash::of("", "")) {
    for (const std::string& word : space.base.assignments)
      base_words_ += ConfigHash::of("asked", word);
  }

  Judgement judge(const Change& change) override {
    Judgement judgement;
    std::optional<ConfigHash> hash;
    try {
      const PlanVariant variant = plans_.make(change);
      hash = variant.hash;
      judgement.outcome =
          outcome_of(evaluator_.evaluate(*variant.plan), *variant.plan->config.calibration);
    } catch (const Error& error) {
      const bool refused = error.kind() == ErrorKind::invalid_input;
      judgement.outcome = without_figures(refused ? SweepVerdict::refused : SweepVerdict::failed,
                                          refused ? "refused: " : "failed: ", error);
    }
    judgement.plan_hash = (hash ? *hash : asked(change)).hex();
    return judgement;
  }

 private:
  // Of the words of a plan that cannot be resolved: those of the base and those of the change.
  ConfigHash asked(const Change& change) {
    ConfigHash sum = base_words_;
    for (const auto& [key, value] : change) {
      word_.assign(key).append(1, '=').append(value);
      const auto known = words_.find(word_);
      sum += known != words_.end()
                 ? known->second
                 : words_.emplace(word_, ConfigHash::of("asked", word_)).first->second;
    }
    return sum;
  }

  PlanVariants plans_;
  Evaluator evaluator_;
  ConfigHash base_words_;
  std::unordered_map<std::string, ConfigHash> words_;  // of changes: as many as the axes have
  std::string word_;                                   // scratch space
};

}  // namespace

std::unique_ptr<PlanJudge> make_judge(const SweepSpace& space, Fidelity fidelity) {
  return std::make_unique<Simulating>(space, fidelity);
}

}  // namespace meshsim
