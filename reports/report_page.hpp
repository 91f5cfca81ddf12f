// A JSON report in other forms: a page for people (markdown, or HTML that is one file, runs no
// script and loads nothing) or one of its tables as CSV.
//
// Everything that a report holds is text to be shown, whatever it looks like: names are escaped for
// the form, and the HTML forbids scripts by its content security policy.
#pragma once

#include <string>
#include <vector>

#include "reports/report_file.hpp"

namespace meshsim {

std::string report_markdown(const std::vector<ReportFile>& reports);
std::string report_html(const std::vector<ReportFile>& reports);

// The table `section` of every report, below one head; "": the first one of the report's kind that
// says most ("plans", "rows", or the first of all). Several reports: a first column "file". Throws
// Error(invalid_input) if a report has no such table, with the names of those that it has.
std::string report_csv(const std::vector<ReportFile>& reports, const std::string& section);

}  // namespace meshsim
