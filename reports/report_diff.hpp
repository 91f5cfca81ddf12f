// Two reports of one kind, compared field by field.
//
// A field is called by its path: "peak_bytes", "xla.temp_bytes", "time[csa/moe backward
// compute].ps". Rows of a list are the same if what names them is (a part of the step by its layer
// kind, pass and cause, a plan of a sweep by its hash), wherever they stand.
#pragma once

#include <string>
#include <vector>

#include "reports/document.hpp"
#include "reports/report_file.hpp"

namespace meshsim {

struct FieldDifference {
  std::string path;
  const Node* a = nullptr;  // nullptr: only in the other
  const Node* b = nullptr;
};

struct ReportDiff {
  const ReportFile* a = nullptr;
  const ReportFile* b = nullptr;
  std::vector<FieldDifference> differences;  // in the order of a; what only b has at the end
  std::int64_t equal = 0;                    // fields
};

// Refers to both. Throws Error(invalid_input) for reports of different kinds.
ReportDiff diff_reports(const ReportFile& a, const ReportFile& b);

// "any"; "FIELD" or "FIELD=RATIO": the field, or any field below it, differs by more than RATIO of
// its value in a (0 unless stated). `any` leaves out the provenance. Throws Error(usage) for a
// ratio that is none.
class DiffLimit {
 public:
  explicit DiffLimit(const std::string& text);
  bool exceeded_by(const FieldDifference& one) const;

 private:
  std::string field_;
  double ratio_ = 0;
};

// Schema https://meshsim.dev/schema/diff/1.
Json diff_json(const ReportDiff& diff, const std::vector<FieldDifference>& failed);
std::string diff_table(const ReportDiff& diff, const std::vector<FieldDifference>& failed);

}  // namespace meshsim
