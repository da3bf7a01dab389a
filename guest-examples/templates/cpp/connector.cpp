// A connector for a small tracker. The contract and the manual are in `wit/connector.wit`. After the
// first build, `.build/bindings/connector_cpp.h` contains the contract in C++.
//
// The host calls the functions in the namespace `exports`. Each call runs in a new instance of the connector.
// Return `fail(…)` for an error of the contract.
#include "jackfield.hpp"

using namespace kit;
namespace report = jackfield::connector::report;
using exports::jackfield::connector::plugin::ChoicesPage;
using exports::jackfield::connector::plugin::Manifest;

constexpr char SCHEMA[] = {
#embed "settings.schema.json"
    , 0};
constexpr Tracker TRACKER{
    .name = "The tracker", .address = "url", .secret = "api-key", .reasons = "/errors"};

// Returns a setting. The settings do not contain the API key: the host adds it to each request.
static std::string setting(const char* name) { return settings(SCHEMA)[name]; }

// Returns the user of the API key. A tracker may answer other requests even if this key is wrong.
static Result<std::string> user() {
  return TRACKER.get<std::string>("/users/current.json", "/user/login");
}

static Result<Defect> defect(const json& issue) {
  const std::string id = TRY(part<std::string>(issue, "/id"));
  return Defect{
      .key = text(id),
      .title = text(TRY(part<std::string>(issue, "/subject"))),
      .link = text(page(setting("url"), "/issues/" + id)),
      .status = text_at(issue, "/status/name"),
      .priority = text_at(issue, "/priority/name"),
      .description = text_at(issue, "/description"),
  };
}

Manifest exports::jackfield::connector::plugin::Describe() {
  return {
      .name = text("Sample tracker"),
      .version = text("0.1.0"),
      .summary = text("Creates, finds and counts issues of a small tracker."),
      .homepage = {},
      .settings = text(SCHEMA),
      .index_delay_seconds = 0,  // for how many seconds the search may miss a new issue
  };
}

Result<wit::string> exports::jackfield::connector::plugin::Check() {
  const std::string reached = "reached as " + TRY(user()) + ", ";
  const Counts counts = TRY(kpis::Count(text("")));
  return text(reached + std::to_string(counts.open) + " open issues");
}

Result<ChoicesPage> exports::jackfield::connector::plugin::Choices(wit::string setting, wit::string) {
  return fail(ErrorCode::kUnsupported, setting.to_string() + " has no list of values");
}

// Reads the report, then sends the only write. So no issue exists if an earlier step fails.
Result<Defect> exports::jackfield::connector::defects::Create(FailedTest, wit::string marker) {
  const auto description = TRY(report::Description("markdown", 16'000, marker.get_view()));
  const json issue = {{"description", description.get_view()},
                      {"project_id", setting("project")},
                      {"subject", report::Title(255).get_view()}};
  return defect(TRY(TRACKER.post("/issues.json", "/issue", {{"issue", issue}})));
}

Result<wit::vector<Defect>> exports::jackfield::connector::defects::Find(wit::string marker) {
  const json issues = TRY(TRACKER.get("/issues.json", "/issues",
      {{"status_id", "*"}, {"limit", "5"}, {"description", "~" + marker.to_string()}}));
  if (issues.empty()) TRY(user());  // The list is also empty if the API key is wrong. Then this request fails.
  std::vector<Defect> found;
  for (const json& issue : issues) {
    if (!issue.value("description", "").contains(marker.get_view())) {
      return fail(ErrorCode::kUnsupported, "the tracker ignores the search for the marker");
    }
    found.push_back(TRY(defect(issue)));
  }
  return list(std::move(found));
}

Result<Counts> exports::jackfield::connector::kpis::Count(wit::string) {
  TRY(user());
  const json known = TRY(TRACKER.get("/enumerations/issue_priorities.json", "/issue_priorities"));
  const std::string critical = TRY(ids_of(known, settings(SCHEMA)["critical"], "critical", "|"));
  const std::string path = "/projects/" + setting("project") + "/issues";
  const auto count = [&](Pairs query) {
    query.push_back({"limit", "1"});
    return TRACKER.get<uint32_t>(path + ".json", "/total_count", query);
  };
  const Pairs open_critical = {{"status_id", "open"}, {"priority_id", critical}};
  const uint32_t open = TRY(count({{"status_id", "open"}}));
  const uint32_t closed = TRY(count({{"status_id", "closed"}}));
  const uint32_t of_these = TRY(count(open_critical));
  return Counts{open, closed, of_these, open - std::min(open, of_these),
                text(page(setting("url"), path, open_critical))};
}
